/** The part of MongoDB's wire protocol that a lookup needs: OP_MSG (and the first OP_QUERY) with hello, find and endSessions. Written from its documentation. */
import { createServer, type Socket } from "node:net";
import { BSON, type Document } from "mongodb";
import type { Test } from "tap";

const OP_REPLY = 1;
const OP_QUERY = 2004;
const OP_MSG = 2013;

export class FakeMongodb {
  /** The `find` commands so far. */
  readonly finds: Document[] = [];
  private readonly sockets = new Set<Socket>();
  private readonly server = createServer((socket) => this.serve(socket));
  port = 0;

  /** `find` gives the documents for a filter, or an error. */
  private constructor(private readonly find: (filter: Document) => Document[] | Error) {}

  static async start(
    t: Pick<Test, "teardown">,
    find: (filter: Document) => Document[] | Error,
  ): Promise<FakeMongodb> {
    const fake = new FakeMongodb(find);
    await fake.listen();
    const address = fake.server.address();
    fake.port = typeof address === "object" && address !== null ? address.port : 0;
    t.teardown(() => fake.stop());
    return fake;
  }

  /** At the port that it had, if it had one. */
  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.server.listen(this.port, "127.0.0.1", resolve));
  }

  /** Breaks all connections and takes no more. */
  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }

  private serve(socket: Socket): void {
    this.sockets.add(socket);
    let input: Buffer = Buffer.alloc(0);
    socket.on("error", () => undefined);
    socket.on("data", (data: Buffer) => {
      input = Buffer.concat([input, data]);
      while (input.length >= 16 && input.length >= input.readInt32LE(0)) {
        const message = input.subarray(0, input.readInt32LE(0));
        input = input.subarray(message.length);
        socket.write(this.answer(message));
      }
    });
  }

  private answer(message: Buffer): Buffer {
    const request = message.readInt32LE(4);
    const operation = message.readInt32LE(12);
    if (operation === OP_QUERY) {
      // flags, name of the collection, skip, count, query
      const query = BSON.deserialize(message.subarray(message.indexOf(0, 20) + 1 + 8));
      const head = Buffer.alloc(20);
      head.writeInt32LE(1, 16);
      return framed(request, OP_REPLY, Buffer.concat([head, BSON.serialize(this.reply(query))]));
    }
    const body = BSON.serialize(this.reply(BSON.deserialize(message.subarray(21))));
    return framed(request, OP_MSG, Buffer.concat([Buffer.alloc(5), body]));
  }

  private reply(command: Document): Document {
    if ("hello" in command || "ismaster" in command || "isMaster" in command)
      return {
        ok: 1,
        ismaster: true,
        isWritablePrimary: true,
        helloOk: true,
        maxBsonObjectSize: 16777216,
        maxMessageSizeBytes: 48000000,
        maxWriteBatchSize: 100000,
        minWireVersion: 0,
        maxWireVersion: 21,
        readOnly: false,
      };
    if (!("find" in command)) return { ok: 1 };
    this.finds.push(command);
    const documents = this.find(command.filter as Document);
    if (documents instanceof Error)
      return { ok: 0, code: 2, codeName: "BadValue", errmsg: documents.message };
    return { ok: 1, cursor: { id: 0n, ns: `${command.$db}.${command.find}`, firstBatch: documents } };
  }
}

function framed(request: number, operation: number, body: Buffer): Buffer {
  const head = Buffer.alloc(16);
  head.writeInt32LE(16 + body.length, 0);
  head.writeInt32LE(1, 4);
  head.writeInt32LE(request, 8);
  head.writeInt32LE(operation, 12);
  return Buffer.concat([head, body]);
}
