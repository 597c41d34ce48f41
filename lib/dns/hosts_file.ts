/** /etc/hosts, hosts(5): read again when it changed. */
import { formatInet, parseInet } from "../config/inet.ts";
import { lowerAscii, splitAny } from "../sys/bytes.ts";
import { WatchedFile } from "./resolv_conf.ts";

export interface HostsFile {
  /** Addresses by lower-case name. */
  readonly byName: ReadonlyMap<string, ReadonlyArray<string>>;
  /** The canonical name by address in its usual text form. */
  readonly byAddress: ReadonlyMap<string, string>;
  /** The canonical name by lower-case name. */
  readonly canonical: ReadonlyMap<string, string>;
}

const FILE_LIMIT = 16 * 1024 * 1024;

/** The one text form of an address that inet_ntop() gives. */
export function normalAddress(address: string): string | undefined {
  const bytes = parseInet(address);
  return bytes === undefined ? undefined : formatInet(bytes);
}

export function parseHosts(text: string): HostsFile {
  const byName = new Map<string, string[]>();
  const byAddress = new Map<string, string>();
  const canonical = new Map<string, string>();
  for (const line of text.slice(0, FILE_LIMIT).split("\n")) {
    const comment = line.indexOf("#");
    const [first = "", ...names] = splitAny(comment < 0 ? line : line.slice(0, comment), " \t\r");
    const address = normalAddress(first);
    const [official] = names;
    if (address === undefined || official === undefined) continue;
    if (!byAddress.has(address)) byAddress.set(address, official);
    for (const name of names) {
      const key = lowerAscii(name);
      const known = byName.get(key);
      if (known === undefined) {
        byName.set(key, [address]);
        canonical.set(key, official);
      } else if (!known.includes(address)) known.push(address);
    }
  }
  return { byName, byAddress, canonical };
}

let watched: WatchedFile<HostsFile> | undefined;
export function hostsFile(): HostsFile {
  watched ??= new WatchedFile("/etc/hosts", parseHosts);
  return watched.get();
}
/** Reads another file from now on (tests). */
export function setHostsPath(path: string): void {
  watched = new WatchedFile(path, parseHosts);
}
