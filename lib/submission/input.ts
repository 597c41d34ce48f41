/** Standard input of the submission commands, read without blocking the event loop (signals must be seen meanwhile). */

import { pause } from "../queue/file_system.ts";
import { errorCode } from "../sys/errno.ts";
import { read } from "../sys/fs.ts";

/** Reads what is there, at most a buffer full; 0 at the end. Throws when reading fails. */
export async function readInput(fd: number, buffer: Buffer): Promise<number> {
  for (;;) {
    try {
      return await new Promise<number>((resolve, reject) => {
        read(fd, buffer, 0, buffer.length, null, (error, count) => (error ? reject(error) : resolve(count)));
      });
    } catch (error) {
      const code = errorCode(error);
      if (code !== "EAGAIN" && code !== "EINTR") throw error;
      // a parent gave us a non-blocking pipe
      if (code === "EAGAIN") await pause(0.005);
    }
  }
}
