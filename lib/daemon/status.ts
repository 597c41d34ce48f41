/** The status channel to master: descriptor 5 (ipc.md 1.4, 1.5). */

import { warning } from "../log/log.ts";
import { toBytes } from "../sys/bytes.ts";
import { errorCode, errorText } from "../sys/errno.ts";
import { duplicate, setCloseOnExec } from "../sys/files.ts";
import { writeSync } from "../sys/fs.ts";
import { adoptSocket } from "../sys/sockets.ts";

export const FLOW_READ = 3;
export const FLOW_WRITE = 4;
export const STATUS_DESCRIPTOR = 5;
export const FIRST_LISTENER = 6;

/** Size of a status record: int pid, unsigned generation, int availability. */
export const STATUS_SIZE = 12;
export const AVAILABILITY = { taken: 0, available: 1 } as const;

/** In the environment of a process whose master starts services ahead (docs/daemons.md): one of Postfix would complain about such a report. */
export const STARTS_AHEAD = "MASTER_STARTS_AHEAD";

/** In the place of the availability: the path of a service that the process is about to ask, as a number below zero. */
export function expectationOf(path: string): number {
  let sum = 0;
  for (const byte of toBytes(path)) sum = (Math.imul(sum, 31) + byte) | 0;
  return sum | 0x80000000;
}

export interface StatusRecord {
  readonly pid: number;
  readonly generation: number;
  readonly availability: number;
}

export function encodeStatus(record: StatusRecord): Buffer {
  const bytes = Buffer.alloc(STATUS_SIZE);
  bytes.writeInt32LE(record.pid, 0);
  bytes.writeUInt32LE(record.generation, 4);
  bytes.writeInt32LE(record.availability, 8);
  return bytes;
}

export const decodeStatus = (bytes: Buffer): StatusRecord => ({
  pid: bytes.readInt32LE(0),
  generation: bytes.readUInt32LE(4),
  availability: bytes.readInt32LE(8),
});

/** This process's end: reports, and the news that master wants it gone. */
export class StatusChannel {
  readonly #generation: number;
  #gone = false;

  constructor(generation: number) {
    this.#generation = generation;
  }

  /** Calls `onGone` when master closes its end: reload, stress, removal or death. */
  async watch(onGone: () => void): Promise<void> {
    const channel = await adoptSocket(duplicate(STATUS_DESCRIPTOR), "status channel");
    channel.onceClosed(onGone);
    void channel.more().then(
      (input) => {
        if (!input) channel.destroy();
      },
      () => channel.destroy(),
    );
    for (const fd of [FLOW_READ, FLOW_WRITE, STATUS_DESCRIPTOR]) setCloseOnExec(fd);
  }

  /** Tells master. False when nobody listens any more. */
  report(...availabilities: ReadonlyArray<number>): boolean {
    const record = Buffer.concat(availabilities.map((availability) => this.#record(availability)));
    // the channel is non-blocking: master is busy reading the reports of this service
    for (let attempt = 0; attempt < 10 && this.#write(record) === "busy"; attempt++) Bun.sleepSync(5);
    return !this.#gone;
  }

  /** Tells master that this process is about to ask `CLASS/NAME`. Not worth any waiting. */
  expect(path: string): void {
    this.#write(this.#record(expectationOf(path)));
  }

  #record(availability: number): Buffer {
    return encodeStatus({ pid: process.pid, generation: this.#generation, availability });
  }

  #write(record: Buffer): "written" | "busy" | "gone" {
    if (this.#gone) return "gone";
    try {
      writeSync(STATUS_DESCRIPTOR, record);
      return "written";
    } catch (error) {
      const code = errorCode(error);
      if (code === "EAGAIN") return "busy";
      if (code !== "EPIPE" && code !== "ECONNRESET") warning(`write status channel: ${errorText(error)}`);
      this.#gone = true;
      return "gone";
    }
  }
}
