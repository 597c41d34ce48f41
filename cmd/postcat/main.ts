/** postcat(1): shows queue files (queue.md 34). */

import { parameter } from "../../lib/config/configuration.ts";
import { command, configureCommand } from "../../lib/daemon/command.ts";
import { optionLetters } from "../../lib/daemon/help.ts";
import { parseOptions } from "../../lib/daemon/options.ts";
import type { Invocation } from "../../lib/daemon/program.ts";
import { fatal, setVerbosity, verbosity } from "../../lib/log/log.ts";
import { queues } from "../../lib/queue/configured_queues.ts";
import { isQueueId, type QueueId } from "../../lib/queue/queue_id.ts";
import { pathOf, toBytes } from "../../lib/sys/bytes.ts";
import { setEnvironmentVariable } from "../../lib/sys/environment.ts";
import { errorText, unless } from "../../lib/sys/errno.ts";
import { changeDirectory } from "../../lib/sys/files.ts";
import { closeSync, constants, fstatSync, openSync, writeSync } from "../../lib/sys/fs.ts";
import { readDecimal } from "../../lib/sys/numbers.ts";
import { HELP } from "./help.ts";
import { type Display, showFile } from "./show.ts";

/** Does not log: lines go to standard error only, under the name by which we were called. */
const definition = {
  program: "postcat",
  help: HELP,
  label: (invocation: Invocation) => invocation.argv0,
  log: { ownFile: true },
};

export const main = command({ ...definition, run });

const USAGE =
  "usage: postcat [-b (body text)] [-c config_dir] [-d (decimal record type)] [-e (envelope records)] [-h (header text)] [-q (access queue)] [-v] [file(s)...]";

/** Searched in this order, and once more in case the file moved meanwhile. */
const SEARCHED = ["maildrop", "incoming", "active", "deferred", "hold", "saved"] as const;

async function run(invocation: Invocation): Promise<void> {
  const parsed = parseOptions(invocation.args, optionLetters(HELP));
  if (!parsed.ok) {
    writeSync(2, toBytes(`${invocation.argv0}: ${parsed.problem}\n`));
    fatal(USAGE);
  }
  const given = new Set<string>();
  let start = 0;
  for (const { option, value } of parsed.options) {
    given.add(option);
    if (option === "c") setEnvironmentVariable("MAIL_CONFIG", value);
    if (option === "s") start = readDecimal(value) ?? fatal(`bad offset: ${value}`);
    if (option === "v") setVerbosity(verbosity() + 1);
  }
  configureCommand(definition, invocation, "update");
  const everything = !given.has("b") && !given.has("e") && !given.has("h");
  const display: Display = {
    body: everything || given.has("b"),
    envelope: everything || given.has("e"),
    header: everything || given.has("h"),
    decimalType: given.has("d"),
    offset: given.has("o"),
    fileName: given.has("f"),
    rawPointers: given.has("r"),
    verbose: given.has("v"),
    start,
  };
  if (given.has("q")) {
    changeDirectory(parameter("queue_directory"));
    for (const id of parsed.operands) {
      if (!isQueueId(id)) fatal(`bad mail queue ID: ${id}`);
      const { fd, path } = findInQueue(id) ?? fatal(`open queue file ${id}: No such file or directory`);
      showFile(fd, path, true, display);
      closeSync(fd);
    }
  } else if (parsed.operands.length === 0) {
    showFile(0, "stdin", fstatSync(0).isFile(), display);
  } else
    for (const path of parsed.operands) {
      const fd = open(path);
      showFile(fd, path, fstatSync(fd).isFile(), display);
      closeSync(fd);
    }
}

function open(path: string): number {
  try {
    return openSync(pathOf(path), "r");
  } catch (error) {
    fatal(`open ${path}: ${errorText(error)}`);
  }
}

/** The owner of the queue may have put anything there. */
const QUEUE_FILE = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;

function findInQueue(id: QueueId): { fd: number; path: string } | undefined {
  for (let round = 0; round < 2; round++)
    for (const queue of SEARCHED) {
      const path = queues().path(queue, id);
      const fd = unless(["ENOENT", "ENOTDIR"], () => openSync(path, QUEUE_FILE));
      if (fd !== undefined) return { fd, path };
    }
  return undefined;
}
