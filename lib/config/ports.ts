/** TCP port names: known_tcp_ports before services(5). */

import { isDigitCode, isSpaceCode, splitAny, trimSpace } from "../sys/bytes.ts";
import { existsSync, readFileSync } from "../sys/fs.ts";
import { readDecimal } from "../sys/numbers.ts";

export interface KnownPorts {
  readonly ports: ReadonlyMap<string, number>;
  readonly warnings: ReadonlyArray<string>;
}

/** Reads known_tcp_ports: `name[=name...]=port`, separated by comma. */
export function parseKnownPorts(value: string): KnownPorts {
  const ports = new Map<string, number>();
  const warnings: string[] = [];
  for (const part of value.split(",")) {
    if (part === "") continue;
    const fault = addElement(part, ports);
    if (fault !== undefined) warnings.push(`known_tcp_ports: in "${part}"${fault}`);
  }
  return { ports, warnings };
}

function addElement(element: string, ports: Map<string, number>): string | undefined {
  const fields = element.split("=").map(trimSpace);
  if (fields.length < 2) return ' is not in "name = value" form';
  const portText = fields[fields.length - 1] ?? "";
  const names = fields.slice(0, -1);
  if (portText === "") return ': missing port value after "="';
  if (hasSpace(portText)) return ": whitespace in port number";
  if (names.includes("")) return ': missing service name before "="';
  if (names.some(hasSpace)) return ": whitespace in service name";
  if (names.some(isNumber)) return ": numerical service name";
  if (!isNumber(portText)) return ": non-numerical service port";
  const port = readDecimal(portText, 65535);
  if (port === undefined) return ": port number out of range";
  for (const name of names) {
    if (ports.has(name)) return ": duplicate service name";
    ports.set(name, port);
  }
  return undefined;
}

const hasSpace = (text: string): boolean =>
  [...text].some((character) => isSpaceCode(character.charCodeAt(0)));
const isNumber = (text: string): boolean =>
  [...text].every((character) => isDigitCode(character.charCodeAt(0)));

/** The port of a number or a service name; undefined when there is none. */
export function tcpPort(service: string, knownTcpPorts: string): number | undefined {
  if (isNumber(service) && service !== "") return readDecimal(service, 65535);
  return parseKnownPorts(knownTcpPorts).ports.get(service) ?? servicesFile(service);
}

function servicesFile(service: string): number | undefined {
  if (!existsSync("/etc/services")) return undefined;
  for (const line of readFileSync("/etc/services", "latin1").split("\n")) {
    const [name, entry = "", ...aliases] = splitAny(line.replace(/#.*/, ""), " \t\r");
    if (name !== service && !aliases.includes(service)) continue;
    const [port = "", protocol] = entry.split("/");
    if (protocol === "tcp") return readDecimal(port, 65535);
  }
  return undefined;
}
