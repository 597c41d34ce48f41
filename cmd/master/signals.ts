/** Signals to master. */

import { info } from "../../lib/log/log.ts";
import {
  defaultSignal,
  endedChild,
  ignoreSignal,
  processGroup,
  reapChild,
  sendSignal,
  stoppedChild,
} from "../../lib/sys/process.ts";
import { collectEnded } from "../../lib/sys/program_end.ts";
import { after } from "../../lib/sys/timers.ts";
import type { MasterOptions } from "./options.ts";
import type { Supervisor } from "./supervisor.ts";

const DEADLY = ["SIGINT", "SIGQUIT", "SIGTERM"] as const;
const SUICIDE_MILLISECONDS = 5000;

const numbers = () => process.getBuiltinModule("node:os").constants.signals;

export function installSignals(supervisor: Supervisor, options: MasterOptions): void {
  process.on("SIGHUP", () => supervisor.reload());
  process.on("SIGIO", () => supervisor.poll());
  process.on("SIGCHLD", () => childrenChanged(supervisor, options));
  for (const signal of DEADLY) process.on(signal, () => terminate(numbers()[signal], options));
  if (options.exitTime > 0)
    after(options.exitTime, () => {
      info("master exit time has arrived");
      process.exit(0);
    });
}

/** Also those children that process 1 of a container inherits: what a command of a user left behind. */
function childrenChanged(supervisor: Supervisor, options: MasterOptions): void {
  for (let child = stoppedChild(); child !== undefined; child = stoppedChild())
    supervisor.stopped(child.pid, child.signal);
  if (!options.init) return;
  for (let pid = endedChild(); pid !== undefined; pid = endedChild()) {
    // one of ours stands before the others until it has been taken note of
    if (supervisor.owns(pid)) collectEnded();
    else reapChild(pid);
  }
}

/** Takes the whole mail system down: every process of the group gets SIGTERM. */
function terminate(signal: number, options: MasterOptions): void {
  const { SIGTERM, SIGKILL } = numbers();
  setTimeout(() => sendSignal(process.pid, SIGKILL), SUICIDE_MILLISECONDS);
  ignoreSignal(SIGTERM);
  sendSignal(-processGroup(), SIGTERM);
  info(`terminating on signal ${signal}`);
  if (options.init) process.exit(0);
  defaultSignal(signal);
  sendSignal(process.pid, signal);
}
