/** postsuper(1): the superuser's changes to the queue: repair, delete, requeue, hold, release, expire (queue.md 33). */

import { isOwnInstance } from "../../lib/config/accounts.ts";
import { configuration, parameter } from "../../lib/config/configuration.ts";
import { command, configureCommand } from "../../lib/daemon/command.ts";
import { optionLetters } from "../../lib/daemon/help.ts";
import { parseOptions } from "../../lib/daemon/options.ts";
import type { Invocation } from "../../lib/daemon/program.ts";
import { error, fatal, setVerbosity, verbosity } from "../../lib/log/log.ts";
import { dropPrivileges } from "../../lib/privsep/identity.ts";
import { toBytes } from "../../lib/sys/bytes.ts";
import { setEnvironmentVariable } from "../../lib/sys/environment.ts";
import { errorText } from "../../lib/sys/errno.ts";
import { changeDirectory } from "../../lib/sys/files.ts";
import { writeSync } from "../../lib/sys/fs.ts";
import { lookupUser, realUid } from "../../lib/sys/identity.ts";
import { actOnAll } from "./all.ts";
import { actOnId, actOnStandardInput } from "./by_id.ts";
import { HELP } from "./help.ts";
import { DEFAULT_QUEUES, isKnownQueue } from "./queue_list.ts";
import { repair } from "./repair.ts";
import { type Action, Report } from "./report.ts";

const definition = { program: "postsuper", help: HELP, log: { fallback: true } };

export const main = command({ ...definition, run });

const USAGE =
  "usage: postsuper [-c config_dir] [-d queue_id (delete)] [-e queue_id (expire)] [-f queue_id (expire and/or un-hold)] [-h queue_id (hold)] [-H queue_id (un-hold)] [-p (purge temporary files)] [-r queue_id (requeue)] [-s (structure fix)] [-S (redundant structure fix)][-v (verbose)] [queue...]";

const ACTIONS: ReadonlyMap<string, ReadonlyArray<Action>> = new Map<string, ReadonlyArray<Action>>([
  ["d", ["delete"]],
  ["e", ["expire"]],
  ["f", ["expire", "release"]],
  ["h", ["hold"]],
  ["H", ["release"]],
  ["r", ["requeue"]],
]);

interface Request {
  readonly actions: ReadonlyArray<Action>;
  /** A queue ID, `ALL`, or `-`. */
  readonly argument: string;
}

async function run(invocation: Invocation): Promise<void> {
  const parsed = parseOptions(invocation.args, optionLetters(HELP));
  if (!parsed.ok) {
    writeSync(2, toBytes(`${invocation.processName}: ${parsed.problem}\n`));
    fatal(USAGE);
  }
  const requests: Request[] = [];
  const repairs = { purge: false, structure: false, redundant: false };
  for (const { option, value } of parsed.options) {
    const actions = ACTIONS.get(option);
    if (actions !== undefined) requests.push({ actions, argument: value });
    else if (option === "p") repairs.purge = true;
    else if (option === "s") repairs.structure = true;
    else if (option === "S") repairs.structure = repairs.redundant = true;
    else if (option === "v") setVerbosity(verbosity() + 1);
    else if (option === "c") {
      if (!value.startsWith("/")) fatal("-c requires absolute pathname");
      setEnvironmentVariable("MAIL_CONFIG", value);
    }
  }
  configureCommand(definition, invocation, "update");
  becomeMailOwner();
  for (const name of parsed.operands) if (!isKnownQueue(name)) fatal(`invalid directory name: ${name}`);
  const queueNames = parsed.operands.length > 0 ? parsed.operands.filter(isKnownQueue) : DEFAULT_QUEUES;
  if (requests.length === 0 && !repairs.purge && !repairs.structure) repairs.purge = repairs.structure = true;

  const report = new Report();
  if (repairs.purge || repairs.structure) {
    await repair(queueNames, repairs, report);
    if (report.renamed > 0 && requests.some(({ argument }) => argument !== "ALL")) {
      error("QUEUE FILE NAMES WERE CHANGED TO MATCH INODE NUMBERS");
      fatal("CHECK YOUR QUEUE IDS AND RE-ISSUE THE COMMAND");
    }
  }
  for (const { actions, argument } of requests) {
    for (const action of actions) report.requested(action);
    if (argument === "ALL") for (const action of actions) await actOnAll(action, queueNames, report);
    else if (argument === "-") await actOnStandardInput(actions, queueNames, report);
    else actOnId(actions, argument, queueNames, report);
  }
  report.print();
}

/** Root acts as the mail owner; in a private instance the owner is who runs it. */
function becomeMailOwner(): void {
  const name = parameter("mail_owner");
  const owner = lookupUser(name) ?? fatal(`unknown user name: ${name}`);
  if (realUid() !== 0 && !isOwnInstance(configuration()))
    fatal("use of this command is reserved for the superuser");
  const directory = parameter("queue_directory");
  try {
    changeDirectory(directory);
  } catch (failure) {
    fatal(`chdir ${directory}: ${errorText(failure)}`);
  }
  dropPrivileges(owner, undefined);
}
