/** Start-up of a daemon, the same for all skeletons: options, configuration, descriptors, rights (ipc.md 2.1, 2.2). */

import {
  type Configuration,
  configuration,
  installConfiguration,
  loadConfiguration,
  parameter,
} from "../config/configuration.ts";
import type { ParameterName } from "../config/parameters.ts";
import { setMasterGone } from "../ipc/client.ts";
import { setExpectationReport } from "../ipc/expectations.ts";
import { ClientAbort, fatal, setVerbosity } from "../log/log.ts";
import { type LogSetup, setupLogging } from "../log/setup.ts";
import { dropPrivileges } from "../privsep/identity.ts";
import type { Profile } from "../privsep/profile.ts";
import { enterSandbox, SANDBOX_MODES, type SandboxMode } from "../privsep/sandbox.ts";
import { equalFold } from "../sys/bytes.ts";
import { compileAsUsual } from "../sys/compiler.ts";
import { errorCode, errorText } from "../sys/errno.ts";
import { changeDirectory, setUmask } from "../sys/files.ts";
import { fstatSync } from "../sys/fs.ts";
import { lookupUser, realUid } from "../sys/identity.ts";
import { readDecimal, readOctal } from "../sys/numbers.ts";
import { forbidDumps, ignoreSignal, isTerminal, resourceLimit, setResourceLimit } from "../sys/process.ts";
import { wakePatiently } from "../sys/scheduling.ts";
import { loadTimeZone } from "../sys/strftime.ts";
import { usesNetwork } from "../tables/open.ts";
import { allowSurrogates } from "../tables/policy.ts";
import { startDebugger } from "./debugger.ts";
import { optionLetters } from "./help.ts";
import { parseOptions } from "./options.ts";
import type { Invocation } from "./program.ts";
import { SERVICE_OPTIONS } from "./service_options.ts";
import { FLOW_WRITE, STARTS_AHEAD, StatusChannel } from "./status.ts";

/** True in the executables of the test build alone. */
declare const SANDBOX_PROBE: boolean | undefined;

export type Transport = "inet" | "unix" | "pass" | "fifo" | "unix-dgram";

/** What a daemon says of itself. */
export interface ServiceDefinition {
  /** What it may do after its start. */
  readonly profile: Profile | (() => Profile);
  /** Parameters whose values are checked before the first client. */
  readonly parameters?: ReadonlyArray<ParameterName>;
  /** master.cf must set this process limit: 1 or 0. */
  readonly processLimit?: 0 | 1;
  /** Needs root: refuses -u. */
  readonly privileged?: boolean;
  /** Clients before the process ends; 0 = no limit; default $max_use. */
  readonly maxUse?: number;
  /** The parameter whose value this program has for ipc_timeout. */
  readonly ipcTimeout?: "qmgr_ipc_timeout";
  /** Idle seconds before the process ends; 0 = never; default $max_idle. */
  readonly maxIdle?: number | (() => number);
  /** Clients served side by side; default $NAME_client_limit or $service_client_limit. */
  readonly clientLimit?: number;
  /** Descriptors that a client takes at most: itself, and what is opened for it. */
  readonly descriptorsPerClient?: number;
  /** Seconds without a turn of the event loop after which the process is killed; default $daemon_timeout. */
  readonly watchdog?: () => number;
  /** What it does can wait for whoever has the processor when work comes, and it runs no commands of users (lib/sys/scheduling.ts). */
  readonly patient?: boolean;
  /** Accepts arguments after the options (pipe, spawn). */
  readonly takesArguments?: boolean;
  /** As root, outside the jail: open tables, keys and what else the jail does not have. */
  readonly preJail?: (service: Service) => void | Promise<void>;
  /** With the final rights. */
  readonly postJail?: (service: Service) => void | Promise<void>;
  /** Name of a table that changed since it was opened: the process restarts before it takes another client. */
  readonly changedTable?: () => string | undefined;
  /** Opens changed tables again, so that the process can go on; the name of one that it cannot open. */
  readonly refreshTables?: () => Promise<string | undefined>;
  /** Last thing before a voluntary exit. */
  readonly atExit?: () => void | Promise<void>;
}

/** This process as a service. */
export interface Service {
  /** Service name of master.cf. */
  readonly name: string;
  readonly processName: string;
  readonly transport: Transport;
  /** Number of listening descriptors, from 6 on. */
  readonly listeners: number;
  /** Process limit 1 (-l). */
  readonly alone: boolean;
  /** Stand-alone: one client on standard input and output (-S). */
  readonly standAlone: boolean;
  readonly arguments: ReadonlyArray<string>;
  readonly maxUse: number;
  /** Idle limit in seconds. */
  readonly maxIdle: number;
  readonly clientLimit: number;
  readonly status: StatusChannel;
}

/** Runs the start-up sequence; what it finds wrong is fatal. */
export async function startService(
  invocation: Invocation,
  definition: ServiceDefinition,
  transports: ReadonlyArray<Transport>,
): Promise<Service> {
  ignoreSignal(13);
  ignoreSignal(25);
  setUmask(0o077);
  if (invocation.environment.has("MAIL_VERBOSE")) setVerbosity(1);
  let logging: LogSetup = { program: invocation.processName };
  setupLogging(logging);
  const parsed = parseOptions(invocation.args, optionLetters({ options: SERVICE_OPTIONS }));
  const given = new Map<string, string>();
  const overrides: string[] = [];
  let verbosity = invocation.environment.has("MAIL_VERBOSE") ? 1 : 0;
  for (const { option, value } of parsed.options) {
    if (option === "o") overrides.push(value);
    else if (option === "m") overrides.push(`max_use=${value}`);
    else if (option === "i") overrides.push(`max_idle=${value}`);
    else if (option === "v") verbosity++;
    else given.set(option, value);
    if (option === "r") positive(value, 0, "invalid retirement time");
    if (option === "s") positive(value, 1, "invalid socket_count");
    if (option === "V") {
      logging = { ...logging, showTag: true };
      setupLogging(logging);
    }
  }
  if (!parsed.ok) fatal(`invalid option: ${parsed.letter}`);
  setVerbosity(verbosity);
  const name = given.get("n") ?? invocation.processName;
  const loaded = loadConfiguration({ overrides, processName: invocation.processName, serviceName: name });
  installConfiguration(withOwnSettings(loaded, definition));
  setupLogging(logging, configuration());
  if (given.has("D") || invocation.environment.has("MAIL_DEBUG")) startDebugger();
  allowSurrogates(!parameter("daemon_table_open_error_is_fatal"));
  const standAlone = given.has("S");
  if (!standAlone && !given.has("d") && isTerminal(0)) {
    setupLogging({ program: invocation.processName, standardError: invocation.processName }, configuration());
    fatal("do not run this command by hand");
  }
  configuration().select(definition.parameters ?? []);
  if (definition.processLimit === 1 && !given.has("l") && !standAlone)
    fatal(`service ${name} requires a process limit of 1`);
  if (definition.processLimit === 0 && !given.has("z") && !standAlone)
    fatal(`service ${name} requires a process limit of 0`);
  if (definition.privileged === true && given.has("u"))
    fatal(`service ${name} requires privileged operation`);
  const transport = standAlone ? (transports[0] ?? "unix") : chooseTransport(given.get("t"), transports);
  const generation = readGeneration(invocation.environment.get("GENERATION"));
  if (definition.takesArguments !== true && parsed.operands.length > 0)
    fatal(`unexpected command-line argument: ${parsed.operands[0]}`);

  const service: Service = {
    name,
    processName: invocation.processName,
    transport,
    listeners: positive(given.get("s"), 1, "invalid socket_count"),
    alone: given.has("l"),
    standAlone,
    arguments: parsed.operands,
    clientLimit: Math.min(
      definition.clientLimit ?? configuredClientLimit(name),
      clientsByDescriptors(definition),
    ),
    maxUse: definition.maxUse ?? parameter("max_use"),
    maxIdle: idleLimit(definition),
    status: new StatusChannel(generation),
  };

  const queueDirectory = parameter("queue_directory");
  try {
    changeDirectory(queueDirectory);
  } catch (error) {
    fatal(`chdir("${queueDirectory}"): ${errorText(error)}`);
  }
  if (!standAlone) {
    checkFlowPipe();
    await service.status.watch(setMasterGone);
    if (invocation.environment.has(STARTS_AHEAD)) setExpectationReport((path) => service.status.expect(path));
  }
  try {
    await definition.preJail?.(service);
  } catch (error) {
    if (error instanceof ClientAbort) fatal(error.message);
    throw error;
  }
  setResourceLimit("core", 0, true);
  // the time zone's rules are outside the jail
  loadTimeZone();
  // a stand-alone server is run by anybody, with the rights of whoever that is (sendmail -bs)
  const owner = given.has("u") || (realUid() !== 0 && !standAlone) ? mailOwner() : undefined;
  dropPrivileges(owner, given.has("c") && realUid() === 0 ? queueDirectory : undefined);
  forbidDumps();
  if (definition.patient === true) wakePatiently();
  // a stand-alone server hands its mail to a set-gid postdrop
  if (!standAlone) enterSandbox(withTables(profileOf(definition)), sandboxMode());
  await definition.postJail?.(service);
  compileAsUsual();
  if (typeof SANDBOX_PROBE !== "undefined" && SANDBOX_PROBE)
    (await import("../privsep/probe.ts")).probeSandbox();
  return service;
}

/** Tables on servers take sockets that their users do not need otherwise. */
const profileOf = ({ profile }: ServiceDefinition): Profile =>
  typeof profile === "function" ? profile() : profile;
const withTables = (profile: Profile): Profile => (usesNetwork() ? { ...profile, internet: true } : profile);

function sandboxMode(): SandboxMode {
  const mode = parameter("sandbox");
  return (
    SANDBOX_MODES.find((known) => known === mode) ??
    fatal(`bad string value: sandbox = ${mode} (off, warn, enforce)`)
  );
}

function mailOwner() {
  const name = parameter("mail_owner");
  return (
    lookupUser(name) ??
    fatal(
      `file ${parameter("config_directory")}/main.cf: parameter mail_owner: unknown user name value: ${name}`,
    )
  );
}

function chooseTransport(given: string | undefined, supported: ReadonlyArray<Transport>): Transport {
  if (given === undefined) fatal("no transport type specified");
  return (
    supported.find((transport) => equalFold(transport, given)) ??
    fatal(`unsupported transport type: ${given}`)
  );
}

function readGeneration(text: string | undefined): number {
  if (text === undefined) return 0;
  return readOctal(text) ?? fatal(`bad generation: ${text}`);
}

function positive(text: string | undefined, otherwise: number, problem: string): number {
  if (text === undefined) return otherwise;
  const value = readDecimal(text, 2147483647);
  return value !== undefined && value > 0 ? value : fatal(`${problem}: ${text}`);
}

function idleLimit({ maxIdle }: ServiceDefinition): number {
  return (typeof maxIdle === "function" ? maxIdle() : maxIdle) ?? parameter("max_idle");
}

/** The parameters that a program sets for itself. */
function withOwnSettings(loaded: Configuration, { ipcTimeout }: ServiceDefinition): Configuration {
  return ipcTimeout === undefined
    ? loaded
    : loaded.with(new Map([["ipc_timeout", `${loaded.get(ipcTimeout)}s`]]));
}

/** A process that master did not start, or that has lost its descriptors. */
function checkFlowPipe(): void {
  try {
    // the runtime's own descriptors may have taken the number
    if (fstatSync(FLOW_WRITE).isFIFO()) return;
  } catch (error) {
    if (errorCode(error) !== "EBADF") throw error;
  }
  fatal("fstat flow pipe write descriptor: Bad file descriptor");
}

/** For tables, kept connections and the runtime. */
const OTHER_DESCRIPTORS = 64;
const DESCRIPTORS_PER_CLIENT = 4;

/** A process that takes a client for whom it has no descriptors would keep it from one that has. */
function clientsByDescriptors({ descriptorsPerClient = DESCRIPTORS_PER_CLIENT }: ServiceDefinition): number {
  const limit = resourceLimit("openFiles") ?? Number.POSITIVE_INFINITY;
  return Math.max(1, Math.floor((limit - OTHER_DESCRIPTORS) / descriptorsPerClient));
}

/** `smtpd_client_limit = 20` for one service, else service_client_limit. */
function configuredClientLimit(name: string): number {
  const key = `${name}_client_limit`;
  const text = configuration().lookup(key);
  if (text === undefined) return parameter("service_client_limit");
  const value = readDecimal(configuration().expand(text), 100_000);
  return value !== undefined && value > 0 ? value : fatal(`bad numerical configuration: ${key} = ${text}`);
}
