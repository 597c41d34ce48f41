/** postdrop(1): takes a message from a local program and puts it into maildrop (tools.md 3). Runs with borrowed group rights. */

import { parameter } from "../../lib/config/configuration.ts";
import { isUnsafeProcess } from "../../lib/config/directory.ts";
import { command, configureCommand } from "../../lib/daemon/command.ts";
import { optionLetters } from "../../lib/daemon/help.ts";
import { parseOptions } from "../../lib/daemon/options.ts";
import type { Invocation } from "../../lib/daemon/program.ts";
import { encode } from "../../lib/ipc/attributes.ts";
import { PostdropGreeting, PostdropStatus } from "../../lib/ipc/protocols/cleanup.ts";
import { fatal, setVerbosity, verbosity } from "../../lib/log/log.ts";
import { queues } from "../../lib/queue/configured_queues.ts";
import { waitingFileSystem } from "../../lib/queue/file_system.ts";
import { RecordDecoder } from "../../lib/queue/record_decoder.ts";
import { REC_EOF, REC_ERROR, REC_MORE } from "../../lib/queue/records.ts";
import { cleanUpOnSignals } from "../../lib/submission/death_signals.ts";
import { readInput } from "../../lib/submission/input.ts";
import { LocalSenders } from "../../lib/submission/local_sender.ts";
import { notifyPickup } from "../../lib/submission/notify_pickup.ts";
import { limitFileSize } from "../../lib/submission/size_limit.ts";
import { Submission } from "../../lib/submission/submission.ts";
import { deniedUser } from "../../lib/submission/user_access.ts";
import { toBytes } from "../../lib/sys/bytes.ts";
import { setEnvironmentVariable } from "../../lib/sys/environment.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import { changeDirectory } from "../../lib/sys/files.ts";
import { writeSync } from "../../lib/sys/fs.ts";
import { effectiveUid, realUid } from "../../lib/sys/identity.ts";
import { HELP } from "./help.ts";

const INPUT_BUFFER = 64 * 1024;

/** The name that the caller gave is not trusted. */
const definition = { program: "postdrop", help: HELP, label: () => "postdrop" };

export const main = command({ ...definition, run });

async function run(invocation: Invocation): Promise<void> {
  readOptions(invocation);
  configureCommand(definition, invocation, "clean");
  limitFileSize();
  const directory = parameter("queue_directory");
  try {
    changeDirectory(directory);
  } catch (error) {
    fatal(`chdir ${directory}: ${errorText(error)}`);
  }
  cleanUpOnSignals();
  const uid = realUid();
  const denied = await deniedUser("authorized_submit_users", uid);
  if (denied !== undefined) fatal(`User ${denied}(${uid}) is not allowed to submit mail`);

  const senders = new LocalSenders();
  const submission = await Submission.begin(queues(waitingFileSystem), {
    uid,
    checkSender: (sender) => senders.check(uid, sender),
    senderMaps: senders.name,
  });
  answer(encode(PostdropGreeting, { queueId: submission.id }));
  if (!(await receiveRecords(submission, uid))) {
    submission.cancel();
    return;
  }
  const result = await submission.finish();
  if (result.status === 0) await notifyPickup();
  answer(encode(PostdropStatus, result));
  process.exit(result.status & 0xff);
}

function readOptions(invocation: Invocation): void {
  const parsed = parseOptions(invocation.args, optionLetters(HELP));
  if (isUnsafeProcess()) setVerbosity(0);
  for (const { option, value } of parsed.options) {
    if (option === "c") setEnvironmentVariable("MAIL_CONFIG", value);
    else if (option === "v" && effectiveUid() === 0) setVerbosity(verbosity() + 1);
  }
  if (parsed.ok) return;
  writeSync(2, toBytes(`postdrop: ${parsed.problem}\n`));
  fatal("usage: postdrop [-c config_dir] [-v]");
}

/** Standard input to the END record; false when the caller went away before. */
async function receiveRecords(submission: Submission, uid: number): Promise<boolean> {
  const decoder = new RecordDecoder("stdin", parameter("line_length_limit"));
  const buffer = Buffer.allocUnsafeSlow(INPUT_BUFFER);
  for (;;) {
    const type = decoder.next();
    if (type === REC_ERROR) fatal(`uid=${uid}: malformed input`);
    if (type === REC_EOF) return false;
    if (type === REC_MORE) {
      const count = await readInput(0, buffer);
      // the decoder keeps what it is given until the records are complete
      if (count === 0) decoder.end();
      else decoder.push(Buffer.from(buffer.subarray(0, count)));
      continue;
    }
    const checking = submission.record(type, decoder.data);
    if (checking !== undefined) await checking;
    if (submission.complete) return true;
  }
}

/** To the caller; one that has gone away needs no answer. */
function answer(text: string): void {
  try {
    writeSync(1, toBytes(text));
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
  }
}
