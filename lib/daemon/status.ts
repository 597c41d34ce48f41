/** The status channel to master: descriptor 5 (ipc.md 1.4, 1.5). */

import { warning } from "../log/log.ts";
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
    if (this.#gone) return false;
    const generation = this.#generation;
    const record = Buffer.concat(
      availabilities.map((availability) => encodeStatus({ pid: process.pid, generation, availability })),
    );
    for (let attempt = 0; attempt < 10; attempt++) {
      try {
        writeSync(STATUS_DESCRIPTOR, record);
        return true;
      } catch (error) {
        const code = errorCode(error);
        // the channel is non-blocking: master is busy reading the reports of this service
        if (code === "EAGAIN") {
          Bun.sleepSync(5);
          continue;
        }
        if (code !== "EPIPE" && code !== "ECONNRESET") warning(`write status channel: ${errorText(error)}`);
        this.#gone = true;
        return false;
      }
    }
    return true;
  }
}
