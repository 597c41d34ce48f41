/** A queue directory with stand-ins for the services that the agent talks to, the agent itself, and scripted servers. */
import { type ChildProcess, spawn } from "node:child_process";
import {
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { decode, encode } from "../../../lib/ipc/attributes.ts";
import {
  DeliveryReply,
  DeliveryRequest,
  encodeMessageStats,
  NO_MOMENT,
  Recipient,
} from "../../../lib/ipc/protocols/delivery.ts";
import { encodeRecord, Rec } from "../../../lib/queue/records.ts";

const ROOT = resolve(import.meta.dirname, "../../..");
const BUN = join(ROOT, "node_modules/bun/bin/bun.exe");

export interface Reply {
  readonly status: number;
  readonly dsnStatus: string;
  readonly reason: string;
}

export interface Script {
  readonly greet?: string;
  readonly ehlo?: ReadonlyArray<string>;
  readonly replies?: ReadonlyArray<readonly [string, string]>;
  readonly dot?: string | ReadonlyArray<string>;
}

/** `S:` and `C:` lines, and lists of content lines. */
export type Transcript = Array<string | string[]>;

const listen = (server: Server, where: number | string): Promise<number> =>
  new Promise((done) => {
    const ready = (): void => {
      const address = server.address();
      done(typeof address === "object" && address !== null ? address.port : 0);
    };
    if (typeof where === "number") server.listen(where, "127.0.0.1", ready);
    else server.listen(where, ready);
  });

const DEFAULTS: ReadonlyArray<readonly [string, string]> = [
  ["HELO", "250 fake.example"],
  ["MAIL", "250 2.0.0 Ok"],
  ["RCPT", "250 2.1.5 Ok"],
  ["DATA", "354 End data with <CR><LF>.<CR><LF>"],
  ["RSET", "250 2.0.0 Ok"],
  ["XFORWARD", "250 2.0.0 Ok"],
  ["QUIT", "221 2.0.0 Bye"],
];

/** A server that follows a script and writes down what is said. */
export class ScriptedServer {
  readonly transcripts: Transcript[] = [];
  readonly #server: Server;
  script: Script;
  port = 0;
  constructor(script: Script) {
    this.script = script;
    this.#server = createServer((socket) => this.#serve(socket));
  }
  async start(where: number | string = 0): Promise<this> {
    this.port = await listen(this.#server, where);
    return this;
  }
  /** Listens at another loopback address. */
  async startAt(address: string, port: number): Promise<this> {
    this.port = port;
    await new Promise<void>((ready) => this.#server.listen(port, address, ready));
    return this;
  }
  stop(): void {
    this.#server.close();
  }

  #serve(socket: Socket): void {
    const { script } = this;
    const transcript: Transcript = [];
    this.transcripts.push(transcript);
    socket.on("error", () => undefined);
    let deaf = false;
    const say = (text: string): void => {
      if (text === "DROP") {
        deaf = true;
        socket.destroy();
        return;
      }
      if (text === "HANG") return;
      transcript.push(`S: ${text.replaceAll("\r\n", "\\n")}`);
      socket.write(`${text}\r\n`, "latin1");
    };
    let content: string[] | undefined;
    let buffer = "";
    socket.on("data", (chunk: Buffer) => {
      buffer += chunk.toString("latin1");
      for (let end = buffer.indexOf("\r\n"); end >= 0; end = buffer.indexOf("\r\n")) {
        const line = buffer.slice(0, end);
        buffer = buffer.slice(end + 2);
        if (deaf) return;
        if (content !== undefined) {
          if (line !== ".") {
            content.push(line);
            continue;
          }
          transcript.push(`C: <${content.length} data lines>`, content, "C: .");
          content = undefined;
          const { dot = "250 2.0.0 Ok: queued as FAKE" } = script;
          for (const reply of typeof dot === "string" ? [dot] : dot) say(reply);
          continue;
        }
        transcript.push(`C: ${line}`);
        const special = script.replies?.find(([prefix]) =>
          line.toUpperCase().startsWith(prefix.toUpperCase()),
        );
        if (special === undefined && /^(EHLO|LHLO)/.test(line)) {
          const words = script.ehlo ?? ["fake.example"];
          for (const [index, word] of words.entries())
            say(`250${index === words.length - 1 ? " " : "-"}${word}`);
          continue;
        }
        const reply =
          special?.[1] ?? DEFAULTS.find(([verb]) => line.toUpperCase().startsWith(verb))?.[1] ?? "500 what";
        say(reply);
        if (reply.startsWith("421")) {
          deaf = true;
          socket.end();
        }
        if (line === "DATA" && reply.startsWith("354")) content = [];
        if (line === "QUIT") socket.end();
      }
    });
    socket.on("end", () => {
      if (transcript.at(-1) !== "S: 221 2.0.0 Bye") transcript.push("C: <EOF>");
      socket.end();
    });
    say(script.greet ?? "220 fake.example ESMTP");
  }
}

export interface Job {
  readonly nexthop: string;
  readonly recipients: ReadonlyArray<Partial<Recipient> & { readonly recipient: string }>;
  readonly content: ReadonlyArray<string>;
  readonly request?: Partial<DeliveryRequest>;
}

let sequence = 0;
let agentNumber = 0;

/** The queue directory and its services. */
export class Queue {
  readonly directory = mkdtempSync(join(tmpdir(), "smtp-test-"));
  readonly appended: string[] = [];
  readonly posted: string[] = [];
  /** Port of a name server for the agents; 0: the machine's. */
  dnsPort = 0;
  readonly #servers: Server[] = [];
  readonly #agents: Agent[] = [];

  async start(mainCf = ""): Promise<this> {
    chmodSync(this.directory, 0o755);
    for (const name of ["active", "private", "public", "etc", "data"]) mkdirSync(join(this.directory, name));
    writeFileSync(
      join(this.directory, "etc/main.cf"),
      `compatibility_level = 3.11
mail_owner = daemon
setgid_group = games
default_privs = nobody
queue_directory = ${this.directory}
data_directory = ${this.directory}/data
myhostname = mail.example.com
myorigin = example.com
mydestination = mail.example.com, example.com, localhost
recipient_delimiter = +
smtp_host_lookup = native
lmtp_host_lookup = native
smtp_dns_support_level = disabled
smtp_tls_security_level = none
lmtp_tls_security_level = none
inet_protocols = ipv4
fast_flush_domains =
${mainCf}
`,
    );
    for (const service of ["private/bounce", "private/defer", "private/trace"])
      await this.#service(service, "delivery_status_protocol", (text) => {
        this.appended.push(`${service.slice(8)} ${text.replaceAll("\0", "|")}`);
      });
    await this.#cleanup();
    await this.#service("private/verify", "address_verification_prrotocol", () => undefined);
    await this.#service("private/rewrite", "trivial_rewrite_protocol", () => undefined);
    return this;
  }

  /** Takes messages made by the agent; their records as text, in `posted`. */
  async #cleanup(): Promise<void> {
    const server = createServer((socket) => {
      let input = "";
      socket.on("error", () => undefined);
      socket.write("protocol\0cleanup_protocol\0queue_id\x00BEEF\0\0");
      socket.on("data", (chunk: Buffer) => {
        input += chunk.toString("latin1");
        if (!input.endsWith("X\0E\0")) return;
        this.posted.push(input);
        socket.write("status\x000\0reason\0\0\0");
      });
    });
    this.#servers.push(server);
    await listen(server, join(this.directory, "public/cleanup"));
  }

  async #service(path: string, protocol: string, note: (text: string) => void): Promise<void> {
    const server = createServer((socket) => {
      let input = "";
      socket.on("error", () => undefined);
      socket.write(`protocol\0${protocol}\0\0`);
      socket.on("data", (chunk: Buffer) => {
        input += chunk.toString("latin1");
        if (!input.endsWith("\0\0")) return;
        note(input);
        const address = /address\0([^\0]*)\0\0$/.exec(input)?.[1] ?? "";
        input = "";
        socket.write(path === "private/rewrite" ? `flags\0${0}\0address\0${address}\0\0` : "status\x000\0\0");
      });
    });
    this.#servers.push(server);
    await listen(server, join(this.directory, path));
  }

  /** Starts an agent with these overrides. */
  async agent(
    mode: "smtp" | "lmtp",
    overrides: ReadonlyArray<string> = [],
    service: string = mode,
  ): Promise<Agent> {
    const socket = join(this.directory, `private/agent${++agentNumber}`);
    const child = spawn(
      BUN,
      ["run", join(import.meta.dirname, "run_agent.ts"), mode, service, socket, ...overrides],
      {
        env: {
          MAIL_CONFIG: join(this.directory, "etc"),
          PATH: process.env.PATH ?? "",
          ...(this.dnsPort === 0 ? {} : { TEST_DNS_PORT: String(this.dnsPort) }),
        },
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    const agent = new Agent(this, child, socket);
    this.#agents.push(agent);
    await agent.ready();
    return agent;
  }

  /** Makes a queue file; gives what the queue manager would send. */
  message(job: Job): {
    readonly request: DeliveryRequest;
    readonly recipients: Recipient[];
    readonly path: string;
  } {
    const queueId = `A${(++sequence).toString(16).toUpperCase().padStart(10, "0")}`;
    const path = join(this.directory, "active", queueId);
    const parts: Buffer[] = [];
    let offset = 0;
    const put = (type: number, data: string): number => {
      const record = encodeRecord(type, data);
      parts.push(record);
      offset += record.length;
      return offset - record.length;
    };
    put(Rec.FROM, job.request?.sender ?? "sender@remote.example");
    const recipients = job.recipients.map(
      (recipient): Recipient => ({
        originalRecipient: recipient.recipient,
        dsnOriginalRecipient: "",
        notifyFlags: 0,
        ...recipient,
        offset: put(Rec.RECIPIENT, recipient.recipient),
      }),
    );
    put(Rec.CONTENT, "");
    const start = offset;
    for (const line of job.content) {
      for (let at = 0; line.length - at > 2048; at += 2048) put(Rec.CONTINUED, line.slice(at, at + 2048));
      put(Rec.NORMAL, line.slice(line.length === 0 ? 0 : Math.floor((line.length - 1) / 2048) * 2048));
    }
    const size = offset - start;
    put(Rec.EXTRACTED, "");
    put(Rec.END, "");
    const fd = openSync(path, "w", 0o700);
    writeSync(fd, Buffer.concat(parts));
    closeSync(fd);
    chmodSync(path, 0o700);
    const now = { seconds: Math.floor(Date.now() / 1000), microseconds: 0 };
    return {
      path,
      recipients,
      request: {
        flags: 3,
        queueName: "active",
        queueId,
        offset: start,
        size,
        nexthop: job.nexthop,
        encoding: "",
        sendopts: 0,
        sender: "sender@remote.example",
        envelopeId: "",
        retFlags: 0,
        time: encodeMessageStats({
          incomingArrival: now,
          activeArrival: now,
          agentHandoff: NO_MOMENT,
          connectionSetupDone: NO_MOMENT,
          deliverDone: NO_MOMENT,
          reuseCount: 0,
        }),
        clientName: "",
        clientAddress: "",
        clientPort: "",
        clientProtocol: "",
        clientHelo: "",
        saslMethod: "",
        saslUsername: "",
        saslSender: "",
        logIdent: "",
        rewriteContext: "local",
        recipientCount: recipients.length,
        ...job.request,
      },
    };
  }

  stop(): void {
    for (const agent of this.#agents) agent.stop();
    for (const server of this.#servers) server.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export class Agent {
  log: string[] = [];
  #rest = "";
  constructor(
    readonly queue: Queue,
    readonly child: ChildProcess,
    readonly socket: string,
  ) {
    child.stderr?.on("data", (chunk: Buffer) => {
      const lines = (this.#rest + chunk.toString("utf8")).split("\n");
      this.#rest = lines.pop() ?? "";
      this.log.push(...lines);
    });
  }

  ready(): Promise<void> {
    return new Promise((done, failed) => {
      this.child.stdout?.once("data", () => done());
      this.child.once("exit", (code) =>
        failed(new Error(`agent ended with ${code}: ${this.log.join("\n")}${this.#rest}`)),
      );
    });
  }

  stop(): void {
    this.child.removeAllListeners("exit");
    this.child.kill();
  }

  /** Delivers a message; gives the reply to the queue manager and the log with normalized numbers. */
  async deliver(job: Job): Promise<{ reply: Reply | undefined; log: string[]; done: boolean[] }> {
    const { request, recipients, path } = this.queue.message(job);
    this.log = [];
    const reply = await this.#ask(request, recipients);
    await new Promise((later) => setTimeout(later, 20));
    const bytes = readFileSync(path);
    const log = this.log.map((line) =>
      line
        .replace(request.queueId, "QUEUEID")
        .replace(/delay=[0-9.]+, delays=[0-9./]+/, "delay=D, delays=A/B/C/D"),
    );
    return { reply, log, done: recipients.map((recipient) => bytes[recipient.offset] === Rec.DONE) };
  }

  #ask(request: DeliveryRequest, recipients: ReadonlyArray<Recipient>): Promise<Reply | undefined> {
    return new Promise((resolved) => {
      const socket = connect(this.socket);
      let input = Buffer.alloc(0);
      let greeted = false;
      socket.on("error", () => resolved(undefined));
      socket.on("close", () => resolved(undefined));
      socket.on("data", (chunk: Buffer) => {
        input = Buffer.concat([input, chunk]);
        if (!greeted) {
          const end = input.indexOf("\0\0");
          if (end < 0) return;
          input = input.subarray(end + 2);
          greeted = true;
          socket.write(encode(DeliveryRequest, request), "latin1");
          for (const recipient of recipients) socket.write(encode(Recipient, recipient), "latin1");
          return;
        }
        const decoded = decode(DeliveryReply, input);
        if (decoded.kind !== "value") return;
        const { status, dsnStatus, reason } = decoded.value;
        resolved({ status, dsnStatus, reason });
        socket.end();
      });
    });
  }
}
