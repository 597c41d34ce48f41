/** Leaving the terminal, and `master -w`: waiting until the daemon is up. */

import type { Invocation } from "../../lib/daemon/program.ts";
import { fatal, warning } from "../../lib/log/log.ts";
import { encodeUtf8 } from "../../lib/sys/bytes.ts";
import type { Channel } from "../../lib/sys/channel.ts";
import { currentEnvironment } from "../../lib/sys/environment.ts";
import { errorCode } from "../../lib/sys/errno.ts";
import { duplicateTo, setUmask } from "../../lib/sys/files.ts";
import { closeSync, constants, openSync } from "../../lib/sys/fs.ts";
import { ignoreSignal, sendSignal, startSession } from "../../lib/sys/process.ts";
import { startWatched } from "../../lib/sys/program_end.ts";
import { adoptSocket, socketPair } from "../../lib/sys/sockets.ts";
import { type MasterOptions, MONITOR_VARIABLE } from "./options.ts";

const WAIT_SECONDS = 100;
const SIGPIPE = 13;
const SIGKILL = 9;

/** Runs the daemon as a child and ends with 0 when it reports, else with a fatal error. */
export async function waitForDaemon(invocation: Invocation): Promise<void> {
  const [monitor, theirs] = socketPair();
  const child = startWatched({
    path: encodeUtf8(process.execPath),
    argv: [invocation.argv0, ...invocation.args.map(withoutWait).filter((argument) => argument !== "-")],
    environment: currentEnvironment().set(MONITOR_VARIABLE, String(process.pid)),
    // the last of them is MONITOR_DESCRIPTOR
    descriptors: [0, 1, 2, theirs],
  });
  closeSync(theirs);
  const outcome = await Promise.race([
    firstByte(await adoptSocket(monitor, "monitor")),
    child.ended.then(() => "end" as const),
    new Promise<"timeout">((resolve) => setTimeout(() => resolve("timeout"), WAIT_SECONDS * 1000)),
  ]);
  if (outcome === "byte") process.exit(0);
  if (outcome === "timeout") {
    warning("Connection timed out while waiting for daemon initialization");
    sendSignal(child.pid, SIGKILL);
  }
  fatal("daemon initialization failure -- see logs for details");
}

/** An option cluster without its `w`; `-w` alone becomes `-`. */
const withoutWait = (argument: string): string =>
  /^-[DdistvwV]*w/.test(argument) ? argument.replaceAll("w", "") : argument;

const firstByte = async (monitor: Channel): Promise<"byte" | "end"> =>
  (await monitor.more()) ? "byte" : "end";

/** Standard descriptors on /dev/null, a session and process group of its own. */
export function becomeDaemon(options: MasterOptions): void {
  setUmask(0o077);
  ignoreSignal(SIGPIPE);
  delete process.env[MONITOR_VARIABLE];
  if (options.test) return;
  if (!options.foreground) {
    const fd = openSync("/dev/null", constants.O_RDWR);
    for (const standard of options.keepStdout ? [0, 2] : [0, 1, 2]) duplicateTo(fd, standard);
    closeSync(fd);
  }
  if (options.foreground || options.debug || options.init) return;
  try {
    startSession();
  } catch (error) {
    // a process group leader (started by a shell with job control) has a group of its own already
    if (errorCode(error) !== "EPERM") throw error;
  }
}
