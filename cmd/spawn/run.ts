/** Running the command of a spawn service with a client's connection as its standard input, output and error. */

import { findProgram } from "../../lib/delivery/command.ts";
import { exportedEnvironment } from "../../lib/delivery/exported_environment.ts";
import { ClientAbort, logClientAbort, warning } from "../../lib/log/log.ts";
import { startCommand } from "../../lib/privsep/start_command.ts";
import type { ProgramEnd } from "../../lib/sys/program_end.ts";
import { after } from "../../lib/sys/timers.ts";
import type { SpawnAttributes } from "./attributes.ts";

/** Runs the command to its end, or until it has had `timeLimit` seconds. */
export async function runService(
  { uid, gid, argv }: SpawnAttributes,
  socket: number,
  timeLimit: number,
): Promise<void> {
  const [name = ""] = argv;
  const program = findProgram(name, { uid, gid });
  if (!program.ok) {
    refused(name, program.reason);
    return;
  }
  const started = startCommand({
    path: program.path,
    argv,
    uid,
    gid,
    environment: exportedEnvironment(),
    stdio: [socket, socket, socket],
  });
  if (started.kind === "no process") throw new ClientAbort(`fork: ${started.reason}`);
  if (started.kind === "refused") {
    refused(name, started.problem.slice(started.problem.indexOf(": ") + 2));
    return;
  }
  const { command } = started;
  const timer = after(timeLimit, () => {
    warning(`command ${name}: time limit exceeded`);
    command.killGroup();
  });
  const end = await command.ended;
  timer.cancel();
  report(name, end);
}

/** As a child would have done: it logs why, and the parent sees its exit. */
function refused(name: string, reason: string): void {
  logClientAbort(new ClientAbort(`spawn_comand: execvp ${name}: ${reason}`));
  report(name, { kind: "exit", status: 1 });
}

function report(name: string, end: ProgramEnd): void {
  if (end.kind === "signal") warning(`command ${name} killed by signal ${end.signal}`);
  else if (end.status !== 0) warning(`command ${name} exit status ${end.status}`);
}
