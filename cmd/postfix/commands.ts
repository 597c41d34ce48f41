/** The commands of `postfix`, one function each. */

import { configuration } from "../../lib/config/configuration.ts";
import type { ParameterName } from "../../lib/config/parameters.ts";
import { complainAndPause, logAs } from "../../lib/daemon/script_log.ts";
import { fatal, info, log, warning } from "../../lib/log/log.ts";
import { pathOf } from "../../lib/sys/bytes.ts";
import { currentEnvironment } from "../../lib/sys/environment.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import { replaceProcess } from "../../lib/sys/exec.ts";
import { accessSync, constants, existsSync, statSync, unlinkSync, writeFileSync } from "../../lib/sys/fs.ts";
import { sleep } from "../../lib/sys/timers.ts";
import { hasOtherInstances, isSecondary } from "./instance.ts";
import { isRunning, masterPid, signalMaster } from "./master_process.ts";
import { commandPath, daemonPath, run, runForeground, startDetached } from "./programs.ts";

type Command = (args: ReadonlyArray<string>) => void | Promise<void>;

const COMMANDS: ReadonlyMap<string, Command> = new Map<string, Command>([
  ["start", start],
  ["start-fg", startForeground],
  ["stop", stop],
  ["quick-stop", quickStop],
  ["abort", abort],
  ["drain", drain],
  ["reload", reload],
  ["flush", () => process.exit(run(commandPath("postqueue"), ["-f"]))],
  ["check", check],
  ["status", status],
  ["set-permissions", (args) => postInstall(["create-missing", "set-permissions", ...args])],
  ["upgrade-configuration", (args) => postInstall(["create-missing", "upgrade-configuration", ...args])],
  ["post-install", postInstall],
  ["logrotate", async (args) => (await import("./logrotate.ts")).rotateLog(args)],
  ["tls", tls],
  ["non-bdb", async (args) => (await import("./non_bdb.ts")).nonBerkeley(args)],
  ["start_msg", () => say("Start postfix")],
  ["stop_msg", () => say("Stop postfix")],
]);

const USAGE =
  "Usage: postfix start (or stop, reload, abort, flush, check, status, set-permissions, upgrade-configuration, logrotate, tls, non-bdb)";

/** Runs one command to its end. */
export async function runCommand([name = "", ...args]: ReadonlyArray<string>): Promise<void> {
  logAs("postfix-script");
  requireInstallation();
  const command = COMMANDS.get(name);
  if (command !== undefined) await command(args);
  else if (name.startsWith("/")) process.exit(runGiven(name, args));
  else fatal(`unknown command: '${name}'. ${USAGE}`);
  process.exit(0);
}

/** A program that cannot be started ends as it would in a shell. */
function runGiven(path: string, args: ReadonlyArray<string>): number {
  if (existsSync(path) && isExecutable(path)) return run(path, args);
  complainAndPause(`${path}: ${existsSync(path) ? "Permission denied" : "No such file or directory"}`);
  return existsSync(path) ? 126 : 127;
}

const say = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

const isDirectory = (path: string): boolean => existsSync(path) && statSync(pathOf(path)).isDirectory();

function isExecutable(path: string): boolean {
  try {
    accessSync(pathOf(path), constants.X_OK);
    return true;
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return false;
  }
}

function requireInstallation(): void {
  const need = (name: ParameterName, what: string): void => {
    const directory = String(configuration().get(name));
    if (!isDirectory(directory)) fatal(`no Postfix ${what} directory ${directory}!`);
  };
  need("command_directory", "command");
  need("daemon_directory", "daemon");
  if (!existsSync(daemonPath("master"))) fatal(`no Postfix master program ${daemonPath("master")}!`);
  need("config_directory", "configuration");
  if (configuration().get("shlib_directory") !== "no") need("shlib_directory", "shared-library");
  need("meta_directory", "meta");
  need("queue_directory", "queue");
  if (!isExecutable(commandPath("postconf"))) fatal(`cannot execute ${commandPath("postconf")}!`);
}

/** postconf says what it thinks of the configuration, which has to be one that it can read; its output is of no interest. */
function hearPostconf(): void {
  const path = commandPath("postconf");
  if (run(path, [], { quiet: true }) !== 0) fatal(`cannot execute ${path}!`);
}

const QUICK_START = "quick-start";

async function prepareStart(): Promise<void> {
  if (isRunning()) fatal("the Postfix mail system is already running");
  if (existsSync(QUICK_START)) {
    unlinkSync(QUICK_START);
    return;
  }
  hearPostconf();
  const { checkFatal } = await import("./check_fatal.ts");
  if (!(await checkFatal())) fatal("Postfix integrity check failed!");
  await checkWarn();
  await checkAliasMaps();
}

async function checkAliasMaps(): Promise<void> {
  const { migrateAliasMaps } = await import("./alias_maps_migration.ts");
  migrateAliasMaps();
}

async function checkWarn(): Promise<void> {
  const { inspect } = await import("./inspect.ts");
  inspect(isSecondary());
}

async function start(): Promise<void> {
  await prepareStart();
  info("starting the Postfix mail system");
  if (run(daemonPath("master"), ["-w"]) !== 0) fatal("mail system startup failed");
}

async function startForeground(): Promise<void> {
  await prepareStart();
  if (hasOtherInstances()) fatal("start-fg does not support multi_instance_directories");
  info("starting the Postfix mail system");
  if (process.pid !== 1) process.exit(await runForeground(daemonPath("master"), ["-s"]));
  try {
    replaceProcess(daemonPath("master"), ["master", "-i"], currentEnvironment());
  } catch (error) {
    fatal(`cannot start-fg the master daemon: ${errorText(error)}`);
  }
}

const NOT_RUNNING = "the Postfix mail system is not running";

function requireRunning(): void {
  if (!isRunning()) fatal(NOT_RUNNING);
}

const ATTEMPTS = 5;

/** Signals the master as a shell's `kill` does; its status. */
function kill(...signal: Parameters<typeof signalMaster>): number {
  const problem = signalMaster(...signal);
  if (problem === undefined) return 0;
  process.stderr.write(`${problem.text}\n`);
  return problem.status;
}

async function stop(): Promise<void> {
  process.exit(await tryStop());
}

/** 0, or 1 when something that cannot be signalled holds the lock. */
async function tryStop(): Promise<number> {
  requireRunning();
  info("stopping the Postfix mail system");
  kill("TERM");
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (await hasStopped()) return 0;
    info("waiting for the Postfix mail system to terminate");
    await sleep(1);
  }
  warning("stopping the Postfix mail system with force");
  return kill("KILL", true) === 0 ? 0 : 1;
}

/** A master that was told to end does so in a few milliseconds, for which nobody has to read that we wait. */
async function hasStopped(): Promise<boolean> {
  for (const delay of [0.005, 0.02, 0.05]) {
    if (!isRunning()) return true;
    await sleep(delay);
  }
  return !isRunning();
}

/** The next start is quick even where nothing had to be stopped. */
async function quickStop(): Promise<void> {
  if (isRunning()) await tryStop();
  else complainAndPause(NOT_RUNNING);
  writeFileSync(QUICK_START, "");
}

function abort(): void {
  requireRunning();
  info("aborting the Postfix mail system");
  process.exit(kill("TERM"));
}

function drain(): void {
  requireRunning();
  info("stopping the Postfix mail system");
  process.exit(kill("KILL"));
}

function reload(): void {
  hearPostconf();
  requireRunning();
  info("refreshing the Postfix mail system");
  const status = run(commandPath("postsuper"), ["active"]);
  if (status !== 0) process.exit(1);
  kill("HUP");
  startDetached(commandPath("postsuper"), []);
}

async function check(): Promise<void> {
  hearPostconf();
  const { checkFatal } = await import("./check_fatal.ts");
  if (!(await checkFatal())) process.exit(1);
  await checkAliasMaps();
  await checkWarn();
}

function status(): void {
  hearPostconf();
  if (isRunning()) {
    info(`the Postfix mail system is running: PID: ${masterPid()}`);
    return;
  }
  info(NOT_RUNNING);
  process.exit(1);
}

async function postInstall(args: ReadonlyArray<string>): Promise<void> {
  const { runPostInstall } = await import("./post_install.ts");
  process.exit(runPostInstall(args));
}

const TLS_COMMANDS = [
  "enable-client",
  "enable-server",
  "new-server-key",
  "new-server-cert",
  "deploy-server-cert",
  "output-server-csr",
  "output-server-tlsa",
  "all-default-client",
  "all-default-server",
] as const;

function tls([command = ""]: ReadonlyArray<string>): void {
  logAs("postfix-tls-script");
  const [first, ...others] = TLS_COMMANDS;
  if (TLS_COMMANDS.some((known) => known === command)) fatal(`postfix tls ${command} is not supported`);
  log({ level: "error", event: "message", text: `unknown tls command: '${command}'`, fields: {} });
  fatal(`usage: postfix tls ${first} (or ${others.join(", ")})`);
}
