/** Client of the postdrop command: hands a message to the set-gid program that may write into maildrop (ipc.md 5.18). */

import { decode, type Message } from "../ipc/attributes.ts";
import { PostdropGreeting, PostdropStatus } from "../ipc/protocols/cleanup.ts";
import { ClientAbort, logClientAbort, warning } from "../log/log.ts";
import { RecordBuffer } from "../queue/record_writer.ts";
import type { Channel } from "../sys/channel.ts";
import { errorCode, errorText } from "../sys/errno.ts";
import { closeSync } from "../sys/fs.ts";
import { type ProgramEnd, startWatched, statusOf } from "../sys/program_end.ts";
import { adoptSocket, socketPair } from "../sys/sockets.ts";
import { sleep } from "../sys/timers.ts";

export interface PostdropOptions {
  /** $command_directory/postdrop */
  readonly path: string;
  /** -v options to pass on. */
  readonly verbose: number;
  readonly environment: ReadonlyMap<string, string>;
}

export type PostdropStart =
  | { readonly ok: true; readonly client: PostdropClient }
  /** The command did not greet; what was to be said about it was logged. */
  | { readonly ok: false; readonly command: string };

/** Bytes that are gathered before a write. */
const WRITE_AT = 32 * 1024;
const REPLY_LIMIT = 64 * 1024;
const FORK_PAUSE_SECONDS = 10;

interface Child {
  /** Its standard input and output. */
  readonly channel: Channel;
  readonly ended: Promise<ProgramEnd>;
}

/** One submission. Records are gathered; `flush()` and `finish()` report failed writes by throwing. */
export class PostdropClient {
  readonly #records = new RecordBuffer(WRITE_AT);
  queueId = "";

  private constructor(
    readonly command: string,
    private readonly child: Child,
  ) {}

  static async start(options: PostdropOptions): Promise<PostdropStart> {
    const argv = [options.path, "-r", ...Array.from({ length: options.verbose }, () => "-v")];
    const command = argv.join(" ");
    const child = await spawn(argv, options.environment);
    if (child === undefined) {
      warning(`command "${command}" exited with status 1`);
      return { ok: false, command };
    }
    const client = new PostdropClient(command, child);
    const greeting = await client.#receive(PostdropGreeting);
    if (greeting === undefined) {
      client.abandon();
      const status = await client.#status();
      if (status !== 0) warning(`command "${command}" exited with status ${status}`);
      return { ok: false, command };
    }
    client.queueId = greeting.queueId;
    return { ok: true, client };
  }

  /** Adds a record. A promise is given when so much has gathered that it should be written first. */
  put(type: number, data: string | Uint8Array = ""): Promise<void> | undefined {
    this.#records.put(type, data);
    return this.#records.length >= WRITE_AT ? this.flush() : undefined;
  }

  /** Adds bytes that are records already. */
  append(records: Uint8Array): Promise<void> | undefined {
    this.#records.append(records);
    return this.#records.length >= WRITE_AT ? this.flush() : undefined;
  }

  async flush(): Promise<void> {
    if (this.#records.length === 0) return;
    this.child.channel.write(this.#records.take());
    await this.child.channel.flush();
  }

  /** After the END record: the command's verdict, when it has ended. Undefined when it gave none. */
  async finish(): Promise<{ status: number; reason: string } | undefined> {
    await this.flush();
    const result = await this.#receive(PostdropStatus);
    this.child.channel.destroy();
    if ((await this.#status()) !== 0) warning("mail_stream_cleanup: close error");
    return result;
  }

  /** Ends the submission before its END record: the command removes its file. */
  abandon(): void {
    this.#records.clear();
    this.child.channel.destroy();
  }

  async #status(): Promise<number> {
    return statusOf(await this.child.ended);
  }

  async #receive<T>(declared: Message<T>): Promise<T | undefined> {
    const { channel } = this.child;
    while (channel.buffered <= REPLY_LIMIT && (await channel.more())) {
      const result = decode(declared, channel.peek(), { stream: this.command });
      if (result.kind === "value") {
        channel.consume(result.length);
        return result.value;
      }
      if (result.kind === "bad") {
        warning(result.text);
        return undefined;
      }
    }
    return undefined;
  }
}

async function spawn(
  argv: ReadonlyArray<string>,
  environment: ReadonlyMap<string, string>,
): Promise<Child | undefined> {
  const [path = ""] = argv;
  for (;;) {
    const [ours, theirs] = socketPair();
    try {
      const { ended } = startWatched({ path, argv, environment, descriptors: [theirs, theirs, 2] });
      return { channel: await adoptSocket(ours, path), ended };
    } catch (error) {
      closeSync(ours);
      const code = errorCode(error);
      if (code !== "EAGAIN" && code !== "ENOMEM") {
        logClientAbort(new ClientAbort(`execvp ${path}: ${errorText(error)}`));
        return undefined;
      }
      warning(`fork: ${errorText(error)}`);
    } finally {
      closeSync(theirs);
    }
    await sleep(FORK_PAUSE_SECONDS);
  }
}
