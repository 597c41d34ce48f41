/** postqueue(1): lists the queue, or asks for delivery attempts (tools.md 4). Runs with borrowed group rights. */

import { parameter } from "../../lib/config/configuration.ts";
import { isUnsafeProcess } from "../../lib/config/directory.ts";
import { command, configureCommand } from "../../lib/daemon/command.ts";
import { optionLetters } from "../../lib/daemon/help.ts";
import { parseOptions } from "../../lib/daemon/options.ts";
import type { Invocation } from "../../lib/daemon/program.ts";
import { fatal, setFatalDelay, setVerbosity, verbosity } from "../../lib/log/log.ts";
import { deniedUser } from "../../lib/submission/user_access.ts";
import { toBytes } from "../../lib/sys/bytes.ts";
import { setEnvironmentVariable } from "../../lib/sys/environment.ts";
import { errorText } from "../../lib/sys/errno.ts";
import { changeDirectory } from "../../lib/sys/files.ts";
import { writeSync } from "../../lib/sys/fs.ts";
import { effectiveUid, lookupUser, realUid } from "../../lib/sys/identity.ts";
import { HELP } from "./help.ts";

/** Every fatal error ends with EX_UNAVAILABLE. */
const definition = { program: "postqueue", help: HELP, label: () => "postqueue", fatalStatus: 69 };

export const main = command({ ...definition, run });

const USAGE = "usage: postqueue -f | postqueue -i queueid | postqueue -j | postqueue -p | postqueue -s site";

type Action =
  | { readonly kind: "list"; readonly json: boolean }
  | { readonly kind: "flush" }
  | { readonly kind: "site"; readonly site: string }
  | { readonly kind: "id"; readonly id: string };

async function run(invocation: Invocation): Promise<void> {
  setFatalDelay(0);
  const action = readOptions(invocation);
  configureCommand(definition, invocation, "clean");
  const directory = parameter("queue_directory");
  try {
    changeDirectory(directory);
  } catch (error) {
    fatal(`chdir ${directory}: ${errorText(error)}`);
  }
  switch (action.kind) {
    case "list": {
      await authorize("authorized_mailq_users", "view");
      const { listQueue } = await import("./list.ts");
      await listQueue(action.json);
      return;
    }
    case "flush":
    case "site":
    case "id": {
      const flush = await import("./flush.ts");
      if (action.kind === "site") flush.checkSite(action.site);
      if (action.kind === "id") flush.checkQueueId(action.id);
      await authorize("authorized_flush_users", "flush");
      if (action.kind === "flush") await flush.flushQueue();
      else if (action.kind === "site") await flush.flushSite(action.site);
      else await flush.flushMessage(action.id);
    }
  }
}

function readOptions(invocation: Invocation): Action {
  if (isUnsafeProcess()) setVerbosity(0);
  const parsed = parseOptions(invocation.args, optionLetters(HELP));
  if (!parsed.ok) {
    writeSync(2, toBytes(`postqueue: ${parsed.problem}\n`));
    fatal(USAGE);
  }
  let action: Action | undefined;
  const choose = (next: Action): void => {
    if (action !== undefined) fatal(USAGE);
    action = next;
  };
  for (const { option, value } of parsed.options) {
    switch (option) {
      case "c":
        setEnvironmentVariable("MAIL_CONFIG", value);
        break;
      case "f":
        choose({ kind: "flush" });
        break;
      case "i":
        choose({ kind: "id", id: value });
        break;
      case "j":
      case "p":
        choose({ kind: "list", json: option === "j" });
        break;
      case "s":
        choose({ kind: "site", site: value });
        break;
      case "v":
        if (effectiveUid() === 0) setVerbosity(verbosity() + 1);
    }
  }
  if (action === undefined || parsed.operands.length > 0) fatal(USAGE);
  return action;
}

/** The super-user and the mail owner need no permission. */
async function authorize(
  list: "authorized_mailq_users" | "authorized_flush_users",
  verb: "view" | "flush",
): Promise<void> {
  const uid = realUid();
  if (uid === 0 || uid === lookupUser(parameter("mail_owner"))?.uid) return;
  const denied = await deniedUser(list, uid);
  if (denied !== undefined) fatal(`User ${denied}(${uid}) is not allowed to ${verb} the mail queue`);
}
