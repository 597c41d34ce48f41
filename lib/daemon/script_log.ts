/** Messages of the command scripts: they look as if postlog had written them. */
import { configuration } from "../config/configuration.ts";
import { log } from "../log/log.ts";
import { setupLogging } from "../log/setup.ts";
import { isTerminal } from "../sys/process.ts";

export function logAs(program: string): void {
  const standardError = isTerminal(2) ? `${configuration().get("syslog_name")}/${program}` : "postlog";
  setupLogging({ program, standardError, fallback: true }, configuration());
}

/** A fatal line that does not end us, since the caller has something to say, too; it takes a second, as every fatal line does. */
export function complainAndPause(text: string): false {
  log({ level: "fatal", event: "message", text, fields: {} });
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
  return false;
}
