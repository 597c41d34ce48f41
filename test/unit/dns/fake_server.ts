/** A name server for tests: answers made with dns-packet, an encoder that is independent of our decoder. */
import { createSocket, type Socket } from "node:dgram";
import { createServer, type Server } from "node:net";
import packet, { type Packet, type Record } from "dns-packet";

export interface Query {
  readonly name: string;
  readonly type: string;
  readonly id: number;
  readonly transport: "udp" | "tcp";
  readonly packet: Packet;
}
/** Gives a packet, raw bytes, or nothing (no answer). */
export type Answer = (query: Query) => Packet | Buffer | Buffer[] | undefined;

export const reply = (query: Query, answers: Record[], rest: Partial<Packet> = {}): Packet => ({
  type: "response",
  id: query.id,
  flags: 0x0180,
  questions: [{ name: query.name, type: query.type }],
  answers,
  ...rest,
});

export class FakeNameServer {
  port = 0;
  readonly queries: Query[] = [];
  #udp: Socket = createSocket("udp4");
  #tcp: Server;
  answer: Answer;

  constructor(answer: Answer) {
    this.answer = answer;
    this.#udp.on("message", (message, from) => {
      for (const bytes of this.#bytes(message, "udp")) this.#udp.send(bytes, from.port, from.address);
    });
    this.#tcp = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.once("data", (chunk: Buffer) => {
        for (const bytes of this.#bytes(chunk.subarray(2), "tcp")) {
          const prefix = Buffer.alloc(2);
          prefix.writeUInt16BE(bytes.length);
          socket.write(prefix);
          socket.write(bytes);
        }
        socket.end();
      });
    });
  }

  #bytes(message: Buffer, transport: "udp" | "tcp"): Buffer[] {
    const decoded = packet.decode(message);
    const question = decoded.questions?.[0];
    if (question === undefined) return [];
    const query: Query = {
      name: question.name,
      type: question.type,
      id: decoded.id ?? 0,
      transport,
      packet: decoded,
    };
    this.queries.push(query);
    const answer = this.answer(query);
    if (answer === undefined) return [];
    return Array.isArray(answer) ? answer : [Buffer.isBuffer(answer) ? answer : packet.encode(answer)];
  }

  async start(): Promise<this> {
    await new Promise<void>((done) => this.#udp.bind(0, "127.0.0.1", done));
    this.port = this.#udp.address().port;
    await new Promise<void>((done) => this.#tcp.listen(this.port, "127.0.0.1", done));
    return this;
  }
  stop(): void {
    this.#udp.close();
    this.#tcp.close();
  }
}
