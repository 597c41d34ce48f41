/** postmulti(1): several instances of the mail system on one machine (tools.md 9). */

import { DEFAULT_DIRECTORY } from "../../lib/config/directory.ts";
import { command, configureCommand } from "../../lib/daemon/command.ts";
import type { Invocation } from "../../lib/daemon/program.ts";
import { fatal } from "../../lib/log/log.ts";
import { encodeUtf8 } from "../../lib/sys/bytes.ts";
import { environmentVariable } from "../../lib/sys/environment.ts";
import { HELP } from "./help.ts";
import { loadInstances, requireSharedDirectories, select } from "./instances.ts";
import { readRequest } from "./options.ts";

const definition = { program: "postmulti", help: HELP, log: { fallback: true } };

export const main = command({ ...definition, run });

async function run(invocation: Invocation): Promise<void> {
  process.umask(0o022);
  configureCommand({ ...definition, log: { ...definition.log, tag: "postmulti" } }, invocation, "update");
  const request = readRequest(invocation);
  const directory = environmentVariable("MAIL_CONFIG");
  if (directory !== undefined && encodeUtf8(directory) !== DEFAULT_DIRECTORY)
    fatal(`Non-default configuration directory: MAIL_CONFIG=${encodeUtf8(directory)}`);
  requireSharedDirectories();
  if (request.mode === "edit") return (await import("./edit.ts")).edit(request);
  const instances = select(loadInstances(), request.selection);
  if (request.mode !== "postfix" && request.reverse) instances.reverse();
  if (request.mode === "list") return (await import("./list.ts")).listInstances(instances, request.json);
  const { runCommand, runPostfix } = await import("./run.ts");
  const done = (request.mode === "postfix" ? runPostfix : runCommand)(instances, request.words);
  process.exit(done ? 0 : 1);
}
