/** Signals to master. */
import { constants } from "node:os";
import { info } from "../../lib/log/log.ts";
import { defaultSignal, ignoreSignal, processGroup, sendSignal } from "../../lib/sys/process.ts";
import type { MasterOptions } from "./options.ts";
import type { Supervisor } from "./supervisor.ts";

const DEADLY = ["SIGINT", "SIGQUIT", "SIGTERM"] as const;
const SUICIDE_MILLISECONDS = 5000;

export function installSignals(supervisor: Supervisor, options: MasterOptions): void {
  process.on("SIGHUP", () => supervisor.reload());
  process.on("SIGIO", () => supervisor.poll());
  for (const signal of DEADLY) process.on(signal, () => terminate(constants.signals[signal], options));
  if (options.exitTime > 0)
    setTimeout(() => {
      info("master exit time has arrived");
      process.exit(0);
    }, options.exitTime * 1000);
}

/** Takes the whole mail system down: every process of the group gets SIGTERM. */
function terminate(signal: number, options: MasterOptions): void {
  const { SIGTERM, SIGKILL } = constants.signals;
  setTimeout(() => sendSignal(process.pid, SIGKILL), SUICIDE_MILLISECONDS);
  ignoreSignal(SIGTERM);
  sendSignal(-processGroup(), SIGTERM);
  info(`terminating on signal ${signal}`);
  if (options.init) process.exit(0);
  defaultSignal(signal);
  sendSignal(process.pid, signal);
}
