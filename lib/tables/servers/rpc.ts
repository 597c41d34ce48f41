/** Calls of ONC RPC over TCP (RFC 5531) and the pieces of XDR (RFC 4506) that NIS needs. */
import type { Channel } from "../../sys/channel.ts";
import { connectInet } from "../../sys/sockets.ts";

/** A call that brought no result. */
export class RpcProblem extends Error {}

const CALL = 0;
const RPC_VERSION = 2;
const LAST_FRAGMENT = 0x80000000;
/** Longest reply in bytes. */
const REPLY_LIMIT = 1024 * 1024;
const PORTMAP = { program: 100000, version: 2, getPort: 3, port: 111, tcp: 6 } as const;

export interface RpcProgram {
  readonly program: number;
  readonly version: number;
}

const padded = (size: number): number => (size + 3) & ~3;

export function xdrNumbers(...numbers: number[]): Buffer {
  const bytes = Buffer.alloc(4 * numbers.length);
  numbers.forEach((number, index) => {
    bytes.writeUInt32BE(number >>> 0, 4 * index);
  });
  return bytes;
}

/** A byte string with its length. */
export function xdrText(text: string): Buffer {
  const bytes = Buffer.alloc(4 + padded(text.length));
  bytes.writeUInt32BE(text.length, 0);
  bytes.write(text, 4, "latin1");
  return bytes;
}

/** Reads a result front to back; throws RpcProblem when it ends too early. */
export class XdrReader {
  private at = 0;
  constructor(private readonly bytes: Buffer) {}
  take(size: number): Buffer {
    if (size > this.bytes.length - this.at) throw new RpcProblem("short reply");
    const taken = this.bytes.subarray(this.at, this.at + size);
    this.at = Math.min(this.bytes.length, this.at + padded(size));
    return taken;
  }
  number(): number {
    return this.take(4).readUInt32BE();
  }
  signed(): number {
    return this.take(4).readInt32BE();
  }
  text(): string {
    return this.take(this.number()).toString("latin1");
  }
}

/** A connection to one RPC program. */
export class RpcClient {
  private transaction = 1;
  constructor(
    readonly channel: Channel,
    private readonly target: RpcProgram,
  ) {}

  /** Throws RpcProblem, or what the channel throws. */
  async call(procedure: number, parameters: Buffer): Promise<XdrReader> {
    const id = this.transaction++;
    const { program, version } = this.target;
    // neither credentials nor a verifier
    const head = xdrNumbers(id, CALL, RPC_VERSION, program, version, procedure, 0, 0, 0, 0);
    const size = head.length + parameters.length;
    this.channel.write(Buffer.concat([xdrNumbers(LAST_FRAGMENT + size), head, parameters]));
    await this.channel.flush();
    const reply = new XdrReader(await this.record());
    if (reply.number() !== id || reply.number() !== 1) throw new RpcProblem("reply to another call");
    if (reply.number() !== 0) throw new RpcProblem("call denied");
    reply.number();
    reply.text();
    const status = reply.number();
    if (status !== 0) throw new RpcProblem(`call not accepted: ${status}`);
    return reply;
  }

  private async record(): Promise<Buffer> {
    const fragments: Buffer[] = [];
    for (let total = 0, last = false; !last; ) {
      const mark = (await this.exactly(4)).readUInt32BE();
      last = mark >= LAST_FRAGMENT;
      const size = last ? mark - LAST_FRAGMENT : mark;
      total += size;
      if (total > REPLY_LIMIT) throw new RpcProblem("reply too long");
      fragments.push(Buffer.from(await this.exactly(size)));
    }
    return Buffer.concat(fragments);
  }
  private async exactly(size: number): Promise<Buffer> {
    const bytes = await this.channel.readExactly(size);
    if (bytes === undefined) throw new RpcProblem("connection closed");
    return bytes;
  }
}

/** Connects to a program on a host, whose port its portmapper knows. Throws RpcProblem or SysError. */
export async function connectRpc(address: string, target: RpcProgram, seconds: number): Promise<RpcClient> {
  const connect = async (port: number, name: string): Promise<Channel> => {
    const channel = await connectInet(address, port, name, { seconds });
    channel.timeLimit = seconds;
    return channel;
  };
  const portmapper = await connect(PORTMAP.port, "portmapper");
  try {
    const client = new RpcClient(portmapper, PORTMAP);
    const { program, version } = target;
    const port = (await client.call(PORTMAP.getPort, xdrNumbers(program, version, PORTMAP.tcp, 0))).number();
    if (port === 0 || port > 65535) throw new RpcProblem(`program ${program} is not registered`);
    return new RpcClient(await connect(port, `program ${program}`), target);
  } finally {
    portmapper.destroy();
  }
}
