/** TCP service names: /etc/services, and the mail services that must work in a jail without that file. */
import { splitAny } from "../sys/bytes.ts";
import { readDecimal } from "../sys/numbers.ts";
import { WatchedFile } from "./resolv_conf.ts";

const BUILT_IN: ReadonlyMap<string, number> = new Map([
  ["smtp", 25],
  ["mail", 25],
  ["lmtp", 24],
  ["submission", 587],
  ["submissions", 465],
  ["smtps", 465],
  ["urd", 465],
]);

export function parseServices(text: string): ReadonlyMap<string, number> {
  const ports = new Map<string, number>();
  for (const line of text.split("\n")) {
    const comment = line.indexOf("#");
    const [name, portText = "", ...aliases] = splitAny(comment < 0 ? line : line.slice(0, comment), " \t\r");
    if (name === undefined || !portText.endsWith("/tcp")) continue;
    const port = readDecimal(portText.slice(0, -4), 65535);
    if (port === undefined) continue;
    for (const key of [name, ...aliases]) if (!ports.has(key)) ports.set(key, port);
  }
  return ports;
}

let watched: WatchedFile<ReadonlyMap<string, number>> | undefined;

export type Port =
  | { readonly kind: "port"; readonly port: number }
  /** A number that is no port. */
  | { readonly kind: "bad" }
  /** A name that is not known. */
  | { readonly kind: "unknown" };

const DIGITS = /^[0-9]+$/;

/** The port of a service given by number or name. */
export function tcpPort(service: string): Port {
  if (DIGITS.test(service)) {
    const port = readDecimal(service, 65535);
    return port === undefined || port === 0 ? { kind: "bad" } : { kind: "port", port };
  }
  const builtIn = BUILT_IN.get(service);
  if (builtIn !== undefined) return { kind: "port", port: builtIn };
  watched ??= new WatchedFile("/etc/services", parseServices);
  const port = watched.get().get(service);
  return port === undefined ? { kind: "unknown" } : { kind: "port", port };
}
