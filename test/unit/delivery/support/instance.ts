/** A private queue directory with stand-ins for the services that a delivery agent or bounce(8) talks to. */
import { spawn } from "node:child_process";
import { chmodSync, closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { decode, encode, type Message } from "../../../../lib/ipc/attributes.ts";
import {
  BounceAppend,
  BounceFlush,
  BounceGreeting,
  BounceOne,
  BounceStatus,
} from "../../../../lib/ipc/protocols/bounce.ts";
import { CleanupFlags, CleanupGreeting, CleanupStatus } from "../../../../lib/ipc/protocols/cleanup.ts";
import {
  DeliveryGreeting,
  DeliveryReply,
  DeliveryRequest,
  encodeMessageStats,
  Recipient,
} from "../../../../lib/ipc/protocols/delivery.ts";
import {
  ResolveReply,
  ResolveRequest,
  RewriteCommand,
  RewriteGreeting,
  RewriteReply,
  RewriteRequest,
} from "../../../../lib/ipc/protocols/rewrite.ts";
import { RecordDecoder } from "../../../../lib/queue/record_decoder.ts";
import { RecordBuffer } from "../../../../lib/queue/record_writer.ts";
import { REC_MORE, Rec } from "../../../../lib/queue/records.ts";
import { encodeSize } from "../../../../lib/queue/size_record.ts";

const ROOT = join(import.meta.dirname, "../../../..");

export interface Posted {
  readonly queueId: string;
  readonly flags: number;
  /** Type letter and data of each record. */
  readonly records: ReadonlyArray<readonly [string, string]>;
  readonly complete: boolean;
}

export interface StoredMessage {
  readonly queueId: string;
  readonly dataOffset: number;
  readonly size: number;
  /** Offsets of the recipient records. */
  readonly recipients: ReadonlyArray<number>;
}

type Append = Parameters<
  typeof encode<import("../../../../lib/ipc/attributes.ts").ValueOf<typeof BounceAppend>>
>[1];

export class Instance {
  readonly directory = mkdtempSync("/tmp/delivery-test-");
  readonly queue = join(this.directory, "queue");
  readonly posted: Posted[] = [];
  readonly appended: Array<{ service: string; value: Append }> = [];
  /** Requests other than append, by the number of the request. */
  readonly noticed: Array<{ service: string; request: number }> = [];
  readonly #servers: Server[] = [];
  #nextId = 0;

  constructor() {
    chmodSync(this.directory, 0o755);
    for (const name of ["active", "bounce", "defer", "trace", "private", "public", "pid"])
      mkdirSync(join(this.queue, name), { recursive: true });
  }

  path(...parts: string[]): string {
    return join(this.directory, ...parts);
  }

  configure(mainCf: string): void {
    mkdirSync(this.path("etc"), { recursive: true });
    writeFileSync(
      this.path("etc/main.cf"),
      `queue_directory = ${this.queue}\nmail_owner = uucp\nsetgid_group = tape\n${mainCf}`,
    );
  }

  close(): void {
    for (const server of this.#servers) server.close();
    rmSync(this.directory, { recursive: true, force: true });
  }

  #serve(path: string, handle: (socket: Socket) => void): Promise<void> {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on("error", () => socket.destroy());
      handle(socket);
    });
    this.#servers.push(server);
    return new Promise((resolve) => server.listen(join(this.queue, path), resolve));
  }

  /** bounce, defer and trace that take everything and remember it. */
  async fakeBounce(): Promise<void> {
    for (const service of ["bounce", "defer", "trace"])
      await this.#serve(`private/${service}`, (socket) => {
        socket.write(Buffer.from(encode(BounceGreeting, {}), "latin1"));
        let input = Buffer.alloc(0);
        socket.on("data", (chunk) => {
          input = Buffer.concat([input, Buffer.from(chunk)]);
          if (!input.toString("latin1").endsWith("\0\0")) return;
          const append = decode(BounceAppend, input);
          if (append.kind === "value") this.appended.push({ service, value: append.value });
          else if (decode(BounceFlush, input).kind === "value") this.noticed.push({ service, request: 1 });
          else if (decode(BounceOne, input).kind === "value") this.noticed.push({ service, request: 4 });
          socket.end(Buffer.from(encode(BounceStatus, { status: 0 }), "latin1"));
        });
      });
  }

  /** cleanup that keeps what is posted; ids are CLEANUP1, CLEANUP2, ... */
  async fakeCleanup(): Promise<void> {
    await this.#serve("public/cleanup", (socket) => {
      const queueId = `CLEANUP${++this.#nextId}`;
      socket.write(Buffer.from(encode(CleanupGreeting, { queueId }), "latin1"));
      let input = Buffer.alloc(0);
      let flags = -1;
      const records: Array<readonly [string, string]> = [];
      const decoder = new RecordDecoder("cleanup");
      let complete = false;
      socket.on("data", (chunk) => {
        if (flags < 0) {
          input = Buffer.concat([input, Buffer.from(chunk)]);
          const result = decode(CleanupFlags, input);
          if (result.kind !== "value") return;
          flags = result.value.flags;
          decoder.push(input.subarray(result.length));
        } else decoder.push(Buffer.from(chunk));
        for (;;) {
          const type = decoder.next();
          if (type === REC_MORE || type < 0) break;
          records.push([String.fromCharCode(type), decoder.text]);
          if (type === Rec.END) {
            complete = true;
            this.posted.push({ queueId, flags, records, complete });
            socket.end(Buffer.from(encode(CleanupStatus, { status: 0, reason: "" }), "latin1"));
          }
        }
      });
      socket.on("end", () => socket.end());
      socket.on("close", () => {
        if (!complete) this.posted.push({ queueId, flags, records, complete });
      });
    });
  }

  /** trivial-rewrite for one local domain. */
  async fakeRewrite(domain: string, transport = "local"): Promise<void> {
    await this.#serve("private/rewrite", (socket) => {
      socket.write(Buffer.from(encode(RewriteGreeting, {}), "latin1"));
      socket.on("data", (chunk) => {
        const input = Buffer.from(chunk);
        const command = decode(RewriteCommand, input, { open: true });
        const reply = <T>(message: Message<T>, value: T) =>
          socket.write(Buffer.from(encode(message, value), "latin1"));
        if (command.kind === "value" && command.value.request === "rewrite") {
          const request = decode(RewriteRequest, input);
          if (request.kind !== "value") return;
          const given = request.value.address === '""' ? "MAILER-DAEMON" : request.value.address;
          reply(RewriteReply, { flags: 0, address: given.includes("@") ? given : `${given}@${domain}` });
          return;
        }
        const request = decode(ResolveRequest, input);
        if (request.kind !== "value") return;
        const recipient = request.value.address === "" ? `MAILER-DAEMON@${domain}` : request.value.address;
        const local = recipient.endsWith(`@${domain}`);
        const nexthop = recipient.slice(recipient.lastIndexOf("@") + 1);
        reply(ResolveReply, {
          serverFlags: 0,
          transport: local ? transport : "smtp",
          nexthop,
          recipient,
          flags: local ? 256 : 4096,
        });
      });
    });
  }

  /** Writes a complete queue file. */
  store(
    queueId: string,
    sender: string,
    recipients: ReadonlyArray<string>,
    content: ReadonlyArray<string>,
    extracted: ReadonlyArray<string> = [],
  ): StoredMessage {
    const build = (size: string) => {
      const buffer = new RecordBuffer();
      buffer.put(Rec.SIZE, size);
      buffer.put(Rec.TIME, "1795336000 0");
      buffer.put(Rec.FROM, sender);
      const offsets: number[] = [];
      for (const recipient of recipients) {
        offsets.push(buffer.length);
        buffer.put(Rec.RECIPIENT, recipient);
      }
      buffer.put(Rec.CONTENT);
      const dataOffset = buffer.length;
      for (const line of content) buffer.put(Rec.NORMAL, line);
      const contentSize = buffer.length - dataOffset;
      buffer.put(Rec.EXTRACTED);
      for (const attribute of extracted) buffer.put(Rec.ATTRIBUTE, attribute);
      buffer.put(Rec.END);
      return { bytes: buffer.take(), dataOffset, contentSize, offsets };
    };
    const fields = { recipientCount: recipients.length, hints: 0, sendOptions: 0 };
    const draft = build(encodeSize({ ...fields, contentSize: 0, dataOffset: 0, messageLength: 0 }));
    const { bytes, dataOffset, contentSize, offsets } = build(
      encodeSize({
        ...fields,
        contentSize: draft.contentSize,
        dataOffset: draft.dataOffset,
        messageLength: draft.contentSize,
      }),
    );
    const path = join(this.queue, "active", queueId);
    closeSync(openSync(path, "w"));
    writeFileSync(path, bytes);
    chmodSync(path, 0o700);
    return { queueId, dataOffset, size: contentSize, recipients: offsets };
  }

  /** Runs a program stand-alone with this input; its log lines and its output. */
  run(
    program: string,
    options: ReadonlyArray<string>,
    input: Buffer,
  ): Promise<{ log: string[]; output: Buffer }> {
    const launcher = join(ROOT, "test/unit/delivery/support/launch.ts");
    const child = spawn(
      join(ROOT, "node_modules/bun/bin/bun.exe"),
      ["run", launcher, "-S", "-V", ...options],
      {
        argv0: program,
        env: {
          TEST_PROGRAM: program,
          MAIL_CONFIG: this.path("etc"),
          PATH: process.env.PATH ?? "",
          TZ: "UTC",
        },
      },
    );
    const output: Buffer[] = [];
    const errors: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => output.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => errors.push(chunk));
    child.stdin.end(input);
    return new Promise((resolve) =>
      child.on("close", () => {
        const log = Buffer.concat(errors)
          .toString("latin1")
          .split("\n")
          .filter((line) => line !== "");
        resolve({
          log: log.map((line) => line.replace(`postfix/${program}: `, "")),
          output: Buffer.concat(output),
        });
      }),
    );
  }

  /** Has an agent deliver a stored message. */
  async deliver(
    agent: string,
    message: StoredMessage,
    sender: string,
    recipients: ReadonlyArray<string>,
    flags = 1,
    options: ReadonlyArray<string> = [],
    nexthop = "example.com",
  ) {
    const moment = { seconds: 1795336000, microseconds: 0 };
    const none = { seconds: 0, microseconds: 0 };
    const time = encodeMessageStats({
      incomingArrival: moment,
      activeArrival: moment,
      agentHandoff: none,
      connectionSetupDone: none,
      deliverDone: none,
      reuseCount: 0,
    });
    let request = encode(DeliveryRequest, {
      flags,
      queueName: "active",
      queueId: message.queueId,
      offset: message.dataOffset,
      size: message.size,
      nexthop,
      encoding: "",
      sendopts: 0,
      sender,
      envelopeId: "",
      retFlags: 0,
      time,
      clientName: "",
      clientAddress: "",
      clientPort: "",
      clientProtocol: "",
      clientHelo: "",
      saslMethod: "",
      saslUsername: "",
      saslSender: "",
      logIdent: message.queueId,
      rewriteContext: "local",
      recipientCount: recipients.length,
    });
    recipients.forEach((recipient, index) => {
      const offset = message.recipients[index] ?? 0;
      request += encode(Recipient, {
        originalRecipient: recipient,
        recipient,
        offset,
        dsnOriginalRecipient: "",
        notifyFlags: 0,
      });
    });
    const { log, output } = await this.run(agent, options, Buffer.from(request, "latin1"));
    const greeting = decode(DeliveryGreeting, output);
    const reply =
      greeting.kind === "value" ? decode(DeliveryReply, output.subarray(greeting.length)) : greeting;
    return {
      log: log.map((line) => line.replace(/delay=[\d.]+, delays=[\d./]+/, "delay=D, delays=A/B/C/D")),
      reply: reply.kind === "value" ? reply.value : undefined,
    };
  }
}
