/** postkick(1): sends a trigger to a service. */

import { configuration, parameter } from "../../lib/config/configuration.ts";
import { command, configureCommand } from "../../lib/daemon/command.ts";
import { optionLetters } from "../../lib/daemon/help.ts";
import { complain, parseOptions } from "../../lib/daemon/options.ts";
import type { Invocation } from "../../lib/daemon/program.ts";
import type { ServiceClass } from "../../lib/ipc/client.ts";
import { trigger } from "../../lib/ipc/trigger.ts";
import { fatal, setVerbosity, verbosity, warning } from "../../lib/log/log.ts";
import { setEnvironmentVariable } from "../../lib/sys/environment.ts";
import { errorText } from "../../lib/sys/errno.ts";
import { changeDirectory } from "../../lib/sys/files.ts";
import { sleep } from "../../lib/sys/timers.ts";
import { HELP } from "./help.ts";

const USAGE = "usage: postkick [-c config_dir] [-v] class service request";
/** Does not log: lines go to standard error only. */
const definition = { program: "postkick", help: HELP, log: { ownFile: true } };

export const main = command({ ...definition, run });

async function run(invocation: Invocation): Promise<void> {
  const parsed = parseOptions(invocation.args, optionLetters(HELP));
  if (!parsed.ok) {
    complain(invocation.processName, parsed);
    return fatal(USAGE);
  }
  for (const { option, value } of parsed.options) {
    if (option === "c") setEnvironmentVariable("MAIL_CONFIG", value);
    else setVerbosity(verbosity() + 1);
  }
  const [serviceClass, service, request] = parsed.operands;
  if (
    serviceClass === undefined ||
    service === undefined ||
    request === undefined ||
    parsed.operands.length !== 3
  )
    return fatal(USAGE);
  configureCommand(definition, invocation, "update");
  const queue = configuration().get("queue_directory");
  try {
    changeDirectory(queue);
  } catch (error) {
    return fatal(`chdir ${queue}: ${errorText(error)}`);
  }
  const { ok, done } = await trigger(
    serviceClass as ServiceClass,
    service,
    request,
    parameter("trigger_timeout"),
  );
  if (!ok) {
    warning(`Cannot contact class ${serviceClass} service ${service} - perhaps the mail system is down`);
    process.exit(1);
  }
  await Promise.race([done, sleep(parameter("application_event_drain_time"))]);
}
