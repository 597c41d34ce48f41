/** Where a message goes: through the set-gid postdrop command, or straight into a maildrop that everybody may write to. */
import { parameter } from "../../lib/config/configuration.ts";
import { fatal } from "../../lib/log/log.ts";
import { queues } from "../../lib/queue/configured_queues.ts";
import { waitingFileSystem } from "../../lib/queue/file_system.ts";
import { cleanUpOnSignals } from "../../lib/submission/death_signals.ts";
import { LocalSenders } from "../../lib/submission/local_sender.ts";
import { notifyPickup } from "../../lib/submission/notify_pickup.ts";
import { PostdropClient } from "../../lib/submission/postdrop_client.ts";
import { Submission, type SubmissionResult, SubmissionStatus } from "../../lib/submission/submission.ts";
import { toBytes } from "../../lib/sys/bytes.ts";

export interface Sink {
  /** Adds a record; a promise means: wait before the next one. */
  put(type: number, data: string | Uint8Array): Promise<void> | undefined;
  /** After END. */
  finish(): Promise<SubmissionResult>;
}

export interface SinkOptions {
  readonly uid: number;
  readonly verbose: number;
  readonly environment: ReadonlyMap<string, string>;
  /** `SENDER(UID)`, for error texts. */
  readonly who: string;
}

export const openSink = (options: SinkOptions): Promise<Sink> =>
  parameter("maildrop_world_writable") ? openMaildrop(options) : openPostdrop(options);

async function openPostdrop(options: SinkOptions): Promise<Sink> {
  const path = `${parameter("command_directory")}/postdrop`;
  const started = await PostdropClient.start({ ...options, path });
  if (!started.ok) fatal(`${options.who}: unable to execute ${started.command}: Application error`);
  const { client } = started;
  return {
    put: (type, data) => client.put(type, data),
    finish: async () => (await client.finish()) ?? { status: SubmissionStatus.WRITE, reason: "" },
  };
}

async function openMaildrop(options: SinkOptions): Promise<Sink> {
  cleanUpOnSignals();
  const senders = new LocalSenders();
  const submission = await Submission.begin(queues(waitingFileSystem), {
    uid: options.uid,
    checkSender: (sender) => senders.check(options.uid, sender),
    senderMaps: senders.name,
  });
  return {
    put: (type, data) =>
      submission.record(
        type,
        typeof data === "string" ? toBytes(data) : Buffer.from(data.buffer, data.byteOffset, data.byteLength),
      ),
    finish: async () => {
      const result = await submission.finish();
      if (result.status === 0) await notifyPickup();
      return result;
    },
  };
}
