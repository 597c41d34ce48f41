/** Many messages in many sessions, and a destination that counts what arrives. */
import { connect, type Socket } from "node:net";
import { SMTPServer } from "smtp-server";

/** One SMTP session that sends message after message, the envelope in one write. */
export class Session {
  #socket: Socket;
  #buffered = "";
  #wake: (() => void) | undefined;
  #failure: Error | undefined;

  constructor(port: number) {
    this.#socket = connect(port, "127.0.0.1");
    this.#socket.setEncoding("latin1").setNoDelay(true);
    this.#socket.on("data", (chunk: string) => {
      this.#buffered += chunk;
      this.#wake?.();
    });
    const fail = (error: Error): void => {
      this.#failure ??= error;
      this.#wake?.();
    };
    this.#socket.on("error", fail).on("close", () => fail(new Error("connection closed")));
    this.#socket.setTimeout(60_000, () => this.#socket.destroy(new Error("timeout")));
  }

  async reply(): Promise<string> {
    for (;;) {
      const match = /^(?:\d{3}-[^\n]*\n)*(\d{3} [^\r\n]*)\r?\n/.exec(this.#buffered);
      if (match !== null) {
        this.#buffered = this.#buffered.slice(match[0].length);
        return match[1] ?? "";
      }
      if (this.#failure !== undefined) throw this.#failure;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
  async expect(code: string): Promise<void> {
    const reply = await this.reply();
    if (!reply.startsWith(code)) throw new Error(reply);
  }
  write(text: string): void {
    this.#socket.write(text, "latin1");
  }
  close(): void {
    this.#socket.destroy();
  }
}

export interface LoadOptions {
  readonly port: number;
  readonly messages: number;
  readonly sessions: number;
  /** Bytes of body. */
  readonly size: number;
  readonly from: string;
  readonly to: (index: number) => string;
  /** Messages per connection. */
  readonly perConnection: number;
  /** A refused or broken message is sent again, as another message, until this many failures. */
  readonly failureLimit: number;
  /** The body of a message, in place of one of that size. */
  readonly body?: (id: string) => string;
  /** Begins the identifiers, which must differ between several loads on one sink. */
  readonly prefix?: string;
}

export interface LoadResult {
  /** Identifiers of the messages that got their 250, the server's promise. */
  readonly accepted: ReadonlySet<string>;
  readonly failures: number;
}

export async function submitLoad(options: LoadOptions): Promise<LoadResult> {
  const accepted = new Set<string>();
  let attempts = 0;
  let failures = 0;
  let inFlight = 0;
  const line = `${"x".repeat(70)}\r\n`;
  const body = line.repeat(Math.ceil(options.size / line.length));
  const worker = async (): Promise<void> => {
    let session: Session | undefined;
    let used = 0;
    while (accepted.size + inFlight < options.messages) {
      inFlight++;
      const id = `${options.prefix ?? "m"}${++attempts}`;
      try {
        if (session === undefined || used >= options.perConnection) {
          session?.close();
          session = new Session(options.port);
          used = 0;
          await session.expect("220");
          session.write("EHLO load.posthaste.test\r\n");
          await session.expect("250");
        }
        used++;
        session.write(`MAIL FROM:<${options.from}>\r\nRCPT TO:<${options.to(attempts)}>\r\nDATA\r\n`);
        await session.expect("250");
        await session.expect("250");
        await session.expect("354");
        session.write(`Subject: load\r\nX-Load-Id: ${id}\r\n\r\n${options.body?.(id) ?? body}.\r\n`);
        await session.expect("250");
        accepted.add(id);
      } catch (error) {
        session?.close();
        session = undefined;
        if (++failures > options.failureLimit) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      } finally {
        inFlight--;
      }
    }
    session?.close();
  };
  await Promise.all(Array.from({ length: options.sessions }, worker));
  return { accepted, failures };
}

/** A destination on smtp-server that remembers how often each message came. */
export class CountingSink {
  readonly #server: SMTPServer;

  constructor(
    readonly arrivals = new Map<string, number>(),
    /** Gets each whole message. */
    seen?: (text: string) => void,
  ) {
    this.#server = new SMTPServer({
      authOptional: true,
      disabledCommands: ["AUTH", "STARTTLS"],
      disableReverseLookup: true,
      maxClients: 1000,
      onData: (stream, _session, callback) => {
        let text = "";
        stream.on("data", (chunk: Buffer) => {
          if (seen !== undefined || text.length < 4096) text += chunk.toString("latin1");
        });
        stream.on("end", () => {
          const id = /^X-Load-Id: (\S+)/m.exec(text)?.[1] ?? "unknown";
          seen?.(text);
          this.arrivals.set(id, (this.arrivals.get(id) ?? 0) + 1);
          callback();
        });
      },
    });
    // a client that is killed breaks its connection
    this.#server.on("error", () => undefined);
  }

  listen(port = 0): Promise<number> {
    return new Promise((resolve) => {
      const server = this.#server.listen(port, "127.0.0.1", () => {
        const address = server.address();
        resolve(typeof address === "object" && address !== null ? address.port : 0);
      });
    });
  }
  close(): Promise<void> {
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  get duplicates(): number {
    return [...this.arrivals.values()].reduce((sum, count) => sum + count - 1, 0);
  }
}
