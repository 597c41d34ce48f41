/** Client of the postdrop command: hands a message to the set-gid program that may write into maildrop (ipc.md 5.18). */

import { decode, type Message } from "../ipc/attributes.ts";
import { PostdropGreeting, PostdropStatus } from "../ipc/protocols/cleanup.ts";
import { ClientAbort, logClientAbort, warning } from "../log/log.ts";
import { RecordBuffer } from "../queue/record_writer.ts";
import { errorCode, errorText } from "../sys/errno.ts";

export interface PostdropOptions {
  /** $command_directory/postdrop */
  readonly path: string;
  /** -v options to pass on. */
  readonly verbose: number;
  readonly environment: Readonly<Record<string, string>>;
}

export type PostdropStart =
  | { readonly ok: true; readonly client: PostdropClient }
  /** The command did not greet; what was to be said about it was logged. */
  | { readonly ok: false; readonly command: string };

/** Bytes that are gathered before a write. */
const WRITE_AT = 32 * 1024;
const REPLY_LIMIT = 64 * 1024;
const FORK_PAUSE_SECONDS = 10;

type Child = import("bun").Subprocess<"pipe", "pipe", "inherit">;

/** One submission. Records are gathered; `flush()` and `finish()` report failed writes by throwing. */
export class PostdropClient {
  readonly #records = new RecordBuffer(WRITE_AT);
  readonly #output: AsyncIterator<Uint8Array>;
  #input: Buffer = Buffer.alloc(0);
  queueId = "";

  private constructor(
    readonly command: string,
    private readonly child: Child,
  ) {
    this.#output = child.stdout[Symbol.asyncIterator]();
  }

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
      await client.abandon();
      const status = await child.exited;
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
    this.child.stdin.write(this.#records.take());
    await this.child.stdin.flush();
  }

  /** After the END record: the command's verdict, when it has ended. Undefined when it gave none. */
  async finish(): Promise<{ status: number; reason: string } | undefined> {
    await this.flush();
    const result = await this.#receive(PostdropStatus);
    await this.child.stdin.end();
    if ((await this.child.exited) !== 0) warning("mail_stream_cleanup: close error");
    return result;
  }

  /** Ends the submission before its END record: the command removes its file. */
  async abandon(): Promise<void> {
    this.#records.clear();
    try {
      await this.child.stdin.end();
    } catch (error) {
      if (errorCode(error) !== "EPIPE") throw error;
    }
  }

  async #receive<T>(declared: Message<T>): Promise<T | undefined> {
    for (;;) {
      if (this.#input.length > 0) {
        const result = decode(declared, this.#input, { stream: this.command });
        if (result.kind === "value") {
          this.#input = this.#input.subarray(result.length);
          return result.value;
        }
        if (result.kind === "bad") {
          warning(result.text);
          return undefined;
        }
        if (this.#input.length > REPLY_LIMIT) return undefined;
      }
      const more = await this.#output.next();
      if (more.done === true) return undefined;
      this.#input = Buffer.concat([this.#input, more.value]);
    }
  }
}

async function spawn(
  argv: string[],
  environment: Readonly<Record<string, string>>,
): Promise<Child | undefined> {
  for (;;) {
    try {
      return Bun.spawn({
        cmd: argv,
        stdin: "pipe",
        stdout: "pipe",
        stderr: "inherit",
        env: { ...environment },
      });
    } catch (error) {
      const code = errorCode(error);
      if (code !== "EAGAIN" && code !== "ENOMEM") {
        logClientAbort(new ClientAbort(`execvp ${argv[0]}: ${errorText(error)}`));
        return undefined;
      }
      warning(`fork: ${errorText(error)}`);
      await new Promise((resolve) => setTimeout(resolve, FORK_PAUSE_SECONDS * 1000));
    }
  }
}
