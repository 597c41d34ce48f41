/** /etc/resolv.conf, as resolv.conf(5) describes it. In a chroot jail the jail's copy is read. */

import { isAddress } from "../address/hostname.ts";
import { lowerAscii, splitAny } from "../sys/bytes.ts";
import { unless } from "../sys/errno.ts";
import { readFileSync, statSync } from "../sys/fs.ts";
import { readDecimal } from "../sys/numbers.ts";

export interface NameServer {
  readonly address: string;
  readonly port: number;
}

export interface ResolverConfiguration {
  /** At most three are used (MAXNS). */
  readonly servers: ReadonlyArray<NameServer>;
  /** Domains of `search`, or the one of `domain`. */
  readonly search: ReadonlyArray<string>;
  readonly ndots: number;
  /** Seconds for the first attempt. */
  readonly timeout: number;
  readonly attempts: number;
  readonly rotate: boolean;
  readonly useTcp: boolean;
  readonly trustAd: boolean;
}

const SERVER_LIMIT = 3;
const SEARCH_LIMIT = 16;
const FILE_LIMIT = 64 * 1024;

const DEFAULTS: ResolverConfiguration = {
  servers: [{ address: "127.0.0.1", port: 53 }],
  search: [],
  ndots: 1,
  timeout: 5,
  attempts: 2,
  rotate: false,
  useTcp: false,
  trustAd: false,
};

/** The value of `name:number` among the options, within its bounds. */
function numericOption(options: ReadonlyArray<string>, name: string, max: number): number | undefined {
  for (const option of options) {
    if (!option.startsWith(`${name}:`)) continue;
    const value = readDecimal(option.slice(name.length + 1));
    if (value !== undefined) return Math.min(value, max);
  }
  return undefined;
}

export function parseResolvConf(text: string): ResolverConfiguration {
  const servers: NameServer[] = [];
  const options: string[] = [];
  let search: ReadonlyArray<string> = [];
  for (const line of text.slice(0, FILE_LIMIT).split("\n")) {
    if (line.startsWith("#") || line.startsWith(";")) continue;
    const [keyword = "", ...values] = splitAny(line, " \t\r");
    switch (lowerAscii(keyword)) {
      case "nameserver": {
        const address = values[0];
        if (address === undefined || servers.length >= SERVER_LIMIT) break;
        const [bare = ""] = address.split("%");
        if (isAddress(bare)) servers.push({ address, port: 53 });
        break;
      }
      case "domain":
        search = values.slice(0, 1);
        break;
      case "search":
        search = values.slice(0, SEARCH_LIMIT);
        break;
      case "options":
        options.push(...values);
        break;
    }
  }
  return {
    servers: servers.length === 0 ? DEFAULTS.servers : servers,
    search: search.map((domain) => domain.replace(/\.$/, "")).filter((domain) => domain !== ""),
    ndots: numericOption(options, "ndots", 15) ?? DEFAULTS.ndots,
    timeout: Math.max(1, numericOption(options, "timeout", 30) ?? DEFAULTS.timeout),
    attempts: Math.max(1, numericOption(options, "attempts", 5) ?? DEFAULTS.attempts),
    rotate: options.includes("rotate"),
    useTcp: options.includes("use-vc"),
    trustAd: options.includes("trust-ad"),
  };
}

/** Milliseconds for which a file is taken to be as it was. */
const LOOK_INTERVAL = 200;

/** A file that is read again when it changed; `parse` gets the empty text when there is none. */
export class WatchedFile<T> {
  private looked = Number.NEGATIVE_INFINITY;
  private signature: string | undefined;
  private value: T | undefined;
  constructor(
    private readonly path: string,
    private readonly parse: (text: string) => T,
  ) {}

  get(): T {
    const now = performance.now();
    if (this.value !== undefined && now - this.looked < LOOK_INTERVAL) return this.value;
    this.looked = now;
    const stats = unless(["ENOENT", "EACCES", "ENOTDIR"], () => statSync(this.path));
    const signature = stats === undefined ? "" : `${stats.dev}.${stats.ino}.${stats.mtimeMs}.${stats.size}`;
    if (this.value === undefined || signature !== this.signature) {
      const text =
        stats === undefined
          ? undefined
          : unless(["ENOENT", "EACCES"], () => readFileSync(this.path, "latin1"));
      this.value = this.parse(text ?? "");
      this.signature = signature;
    }
    return this.value;
  }
}
