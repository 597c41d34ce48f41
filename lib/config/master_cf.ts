/** master.cf as the master daemon reads it: typed service entries, and the argument vector of each service's processes. */
import { equalFold, isDigitCode, isSpaceCode, splitAny } from "../sys/bytes.ts";
import { leadingInteger } from "../sys/numbers.ts";
import { isBelowLevel } from "./compatibility.ts";
import { resolveHost } from "./interfaces.ts";
import { logicalLines } from "./lines.ts";
import { BLANKS, splitBraced, unwrapBraces } from "./lists.ts";
import { type HostResolver, inetEndpoint, type Listener, MasterCfProblem } from "./master_endpoint.ts";
import { parseKnownPorts } from "./ports.ts";
import type { Configuration } from "./settings.ts";

export const SERVICE_TYPES = ["inet", "unix", "unix-dgram", "fifo", "pass"] as const;
export type ServiceType = (typeof SERVICE_TYPES)[number];

export type Endpoint =
  | { readonly kind: "inet"; readonly listeners: ReadonlyArray<Listener> }
  /** A path below the queue directory. */
  | { readonly kind: "path"; readonly path: string };

export interface MasterService {
  /** First line of the entry. */
  readonly line: number;
  /** As written. */
  readonly name: string;
  readonly type: ServiceType;
  /** Name in messages, and (with the type) across reloads: `private/smtp`, `25`, `[127.0.0.1]:10025`. */
  readonly canonicalName: string;
  readonly endpoint: Endpoint;
  /** Reached from this machine only. */
  readonly localOnly: boolean;
  readonly private: boolean;
  readonly unprivileged: boolean;
  readonly chroot: boolean;
  /** Seconds; 0: never. */
  readonly wakeup: number;
  /** Wakeups begin after the first use. */
  readonly wakeupAfterUse: boolean;
  /** 0: no limit. */
  readonly processLimit: number;
  /** Program, relative to daemon_directory. */
  readonly command: string;
  /** Arguments of the entry. */
  readonly args: ReadonlyArray<string>;
}

export interface MasterNotice {
  readonly level: "info" | "warning";
  readonly text: string;
}

export type MasterCf =
  | {
      readonly ok: true;
      readonly services: ReadonlyArray<MasterService>;
      readonly notices: ReadonlyArray<MasterNotice>;
    }
  | {
      readonly ok: false /** Text of the fatal line. */;
      readonly error: string;
      readonly notices: ReadonlyArray<MasterNotice>;
    };

/** Reads a master.cf text. `path` names the file in messages. */
export function parseMasterCf(
  text: string,
  path: string,
  configuration: Configuration,
  resolve: HostResolver = resolveHost,
): MasterCf {
  const { lines, warnings } = logicalLines(text, path);
  const notices: MasterNotice[] = warnings.map((warning) => ({ level: "warning", text: warning }));
  const services = new Map<string, MasterService>();
  const reader = new EntryReader(configuration, path, notices, resolve);
  for (const { text: entry, line } of lines) {
    try {
      const service = reader.read(entry, line);
      if (service === undefined) continue;
      const key = `${service.type}:${service.canonicalName}`;
      if (services.has(key))
        notices.push({
          level: "warning",
          text: `duplicate master.cf entry for service "${service.name}" (${service.canonicalName}) -- using the last entry`,
        });
      services.set(key, service);
    } catch (problem) {
      if (!(problem instanceof MasterCfProblem)) throw problem;
      const error = problem.located ? `${path}: line ${line}: ${problem.message}` : problem.message;
      return { ok: false, error, notices };
    }
  }
  return { ok: true, services: [...services.values()], notices };
}

/** The fields of one entry, taken one after the other. */
class Fields {
  #rest: string;
  constructor(text: string) {
    this.#rest = text;
  }

  next(): string | undefined {
    let start = 0;
    while (start < this.#rest.length && isSpaceCode(this.#rest.charCodeAt(start))) start++;
    let end = start;
    while (end < this.#rest.length && !isSpaceCode(this.#rest.charCodeAt(end))) end++;
    const field = this.#rest.slice(start, end);
    this.#rest = this.#rest.slice(end);
    return field === "" ? undefined : field;
  }

  required(label: string): string {
    const field = this.next();
    if (field === undefined) throw new MasterCfProblem(`missing "${label}" field`);
    return field;
  }

  text(label: string): string {
    const field = this.required(label);
    if (field === "-") throw new MasterCfProblem(`field "${label}" has no default value`);
    return field;
  }

  flag(label: string, defaultValue: boolean): boolean {
    const field = this.required(label);
    switch (field) {
      case "-":
        return defaultValue;
      case "y":
        return true;
      case "n":
        return false;
      default:
        throw new MasterCfProblem(`field "${label}": bad value: "${field}"`);
    }
  }

  number(label: string, defaultText: string): { value: number; text: string } {
    const field = this.required(label);
    const text = field === "-" ? defaultText : field;
    if (!isDigitCode(text.charCodeAt(0))) throw new MasterCfProblem(`field "${label}": bad value: "${text}"`);
    return { value: leadingInteger(text), text };
  }

  args(): string[] {
    return splitBraced(this.#rest, BLANKS).map((argument) => {
      if (!argument.startsWith("{")) return argument;
      const unwrapped = unwrapBraces(argument);
      if (!unwrapped.ok) throw new MasterCfProblem(unwrapped.problem);
      return unwrapped.text;
    });
  }
}

const isServiceType = (text: string): text is ServiceType => SERVICE_TYPES.some((type) => type === text);

class EntryReader {
  readonly #configuration: Configuration;
  readonly #path: string;
  readonly #notices: MasterNotice[];
  readonly #disabled: ReadonlyArray<string>;
  readonly #oldChroot: boolean;
  readonly #noNetwork: boolean;
  #knownPorts: ReadonlyMap<string, number> | undefined;

  readonly #resolve: HostResolver;

  constructor(configuration: Configuration, path: string, notices: MasterNotice[], resolve: HostResolver) {
    this.#resolve = resolve;
    this.#configuration = configuration;
    this.#path = path;
    this.#notices = notices;
    this.#disabled = splitAny(configuration.get("master_service_disable"), ", \t\r\n");
    this.#oldChroot = isBelowLevel(configuration, "1");
    const { ipv4, ipv6 } = configuration.protocols();
    this.#noNetwork = !ipv4 && !ipv6;
    if (!this.#noNetwork) return;
    const value = configuration.get("inet_protocols");
    this.#warn(`all network protocols are disabled (inet_protocols = ${value})`);
    this.#warn('disabling all type "inet" services in master.cf');
  }

  #warn(text: string): void {
    this.#notices.push({ level: "warning", text });
  }

  /** The service of an entry; undefined for a disabled one. */
  read(entry: string, line: number): MasterService | undefined {
    const fields = new Fields(entry);
    const name = fields.required("service name");
    const type = fields.text("transport type");
    if (isDisabled(name, type, this.#disabled) || (type === "inet" && this.#noNetwork)) return undefined;
    if (!isServiceType(type)) throw new MasterCfProblem(`bad transport type: ${type}`);
    const isPrivate = fields.flag("private", true);
    if (type === "inet" && isPrivate) throw new MasterCfProblem("inet service cannot be private");
    const place = this.#place(name, type, isPrivate);
    const unprivileged = fields.flag("unprivileged", true);
    const chroot = this.#chroot(fields, line);
    const wakeup = fields.number("wakeup_time", "0");
    const limit = fields.number("max_proc", String(this.#configuration.get("default_process_limit")));
    const command = fields.text("command");
    return {
      line,
      name,
      type,
      ...place,
      private: isPrivate,
      unprivileged,
      chroot,
      wakeup: wakeup.value,
      wakeupAfterUse: wakeup.text.endsWith("?"),
      processLimit: limit.value,
      command,
      args: fields.args(),
    };
  }

  #chroot(fields: Fields, line: number): boolean {
    const field = fields.required("chroot");
    if (field === "y" || field === "n") return field === "y";
    if (field !== "-") throw new MasterCfProblem(`field "chroot": bad value: "${field}"`);
    if (this.#oldChroot)
      this.#notices.push({
        level: "info",
        text: `${this.#path}: line ${line}: using backwards-compatible default setting chroot=y`,
      });
    return this.#oldChroot;
  }

  #place(
    name: string,
    type: ServiceType,
    isPrivate: boolean,
  ): Pick<MasterService, "canonicalName" | "endpoint" | "localOnly"> {
    if (type === "inet") {
      this.#knownPorts ??= parseKnownPorts(this.#configuration.get("known_tcp_ports")).ports;
      const { canonicalName, listeners, localOnly } = inetEndpoint(
        name,
        this.#configuration,
        this.#knownPorts,
        this.#resolve,
      );
      return { canonicalName, localOnly, endpoint: { kind: "inet", listeners } };
    }
    const path = `${isPrivate ? "private" : "public"}/${name}`;
    return { canonicalName: path, localOnly: type !== "pass", endpoint: { kind: "path", path } };
  }
}

/** Whether the list of master_service_disable names the service; the first match decides. */
export function isDisabled(name: string, type: string, patterns: ReadonlyArray<string>): boolean {
  for (const element of patterns) {
    const negated = element.startsWith("!");
    const bare = negated ? element.slice(1) : element;
    const pattern = bare.includes("/") ? bare : bare.replace(/\.([^.]*)$/, "/$1");
    if (equalFold(pattern, pattern.includes("/") ? `${name}/${type}` : type)) return !negated;
  }
  return false;
}

export interface ChildOptions {
  /** master runs with -d (not detached). */
  readonly debug: boolean;
  readonly verbose: boolean;
  /** The service is in its stress mode. */
  readonly stress: boolean;
}

/** Whether a service can get under stress from outside, so that its processes are told (`-o stress=`). */
export const isStressAware = (service: MasterService): boolean =>
  !service.localOnly && service.processLimit > 1;

/** argv of a process of the service, argv[0] included. */
export function childArguments(service: MasterService, options: ChildOptions): string[] {
  const argv = [service.command];
  if (service.processLimit === 1) argv.push("-l");
  if (service.processLimit === 0) argv.push("-z");
  if (service.command.slice(service.command.lastIndexOf("/") + 1) !== service.name)
    argv.push("-n", service.name);
  argv.push("-t", service.type);
  if (options.debug) argv.push("-d");
  if (options.verbose) argv.push("-v");
  if (service.unprivileged) argv.push("-u");
  if (service.chroot) argv.push("-c");
  if (isStressAware(service)) argv.push("-o", options.stress ? "stress=yes" : "stress=");
  const sockets = service.endpoint.kind === "inet" ? service.endpoint.listeners.length : 1;
  if (sockets > 1) argv.push("-s", String(sockets));
  return [...argv, ...service.args];
}
