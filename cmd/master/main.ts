/** master(8): opens the endpoints of all services, starts their processes on demand, and keeps the mail system running. */

import { configuration } from "../../lib/config/configuration.ts";
import type { Main } from "../../lib/daemon/program.ts";
import { startWatchdog } from "../../lib/daemon/watchdog.ts";
import { info } from "../../lib/log/log.ts";
import { setupLogging } from "../../lib/log/setup.ts";
import { compileAsUsual } from "../../lib/sys/compiler.ts";
import { checkIdentity, configure } from "./configure.ts";
import { becomeDaemon, waitForDaemon } from "./daemonize.ts";
import { holdLocks, testLock } from "./locks.ts";
import { readOptions } from "./options.ts";
import { installSignals } from "./signals.ts";
import { Supervisor } from "./supervisor.ts";

const WATCHDOG_SECONDS = 1000;

export const main: Main = async (invocation) => {
  setupLogging({ program: "master", fallback: true });
  const options = readOptions(invocation);
  if (options.wait) return waitForDaemon(invocation);

  becomeDaemon(options);
  const environment = configure(options);
  // what hinders the start is said where main.cf says, also when postlogd does not run
  setupLogging({ program: "master", fallback: true }, configuration());
  checkIdentity();
  if (options.test) return testLock();
  holdLocks();

  const supervisor = new Supervisor(options, environment);
  // SIGIO tells of clients: its handler must be there before the first endpoint is
  installSignals(supervisor, options);
  supervisor.load();
  setupLogging({ program: "master", fallback: true }, configuration());
  info(
    `daemon started -- version ${configuration().get("mail_version")}, configuration ${configuration().directory}`,
  );
  startWatchdog(WATCHDOG_SECONDS);
  options.initialized();
  compileAsUsual();
};
