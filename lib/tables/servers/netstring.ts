/** Netstrings: `LENGTH:BYTES,` (https://cr.yp.to/proto/netstrings.txt). */
import { isDigitCode } from "../../sys/bytes.ts";
import { type Channel, ChannelTimeout } from "../../sys/channel.ts";

export type NetstringFault =
  | "unexpected disconnect"
  | "time limit exceeded"
  | "input format error"
  | "input exceeds size limit";

export class NetstringProblem extends Error {
  constructor(readonly problem: NetstringFault) {
    super(problem);
  }
}

export const writeNetstring = (channel: Channel, text: string): void =>
  channel.write(`${text.length}:${text},`);

/** Reads one; its content as a byte string of at most `limit` bytes. Throws NetstringProblem. */
export async function readNetstring(channel: Channel, limit: number): Promise<string> {
  try {
    const length = await readLength(channel, limit);
    const bytes = await channel.readExactly(length + 1);
    if (bytes === undefined) throw new NetstringProblem("unexpected disconnect");
    if (bytes[length] !== 0x2c) throw new NetstringProblem("input format error");
    return bytes.toString("latin1", 0, length);
  } catch (failure) {
    if (failure instanceof NetstringProblem) throw failure;
    if (failure instanceof TypeError || failure instanceof RangeError) throw failure;
    throw new NetstringProblem(
      failure instanceof ChannelTimeout ? "time limit exceeded" : "unexpected disconnect",
    );
  }
}

async function readLength(channel: Channel, limit: number): Promise<number> {
  let length = 0;
  for (let digits = 0; ; digits++) {
    const byte = (await channel.readExactly(1))?.[0];
    if (byte === undefined) throw new NetstringProblem("unexpected disconnect");
    if (byte === 0x3a && digits > 0) return length;
    if (!isDigitCode(byte)) throw new NetstringProblem("input format error");
    length = length * 10 + byte - 0x30;
    if (length > limit) throw new NetstringProblem("input exceeds size limit");
  }
}
