/** Standard input of the submission commands, read without keeping signals from being seen. */
import { pause } from "../queue/file_system.ts";
import { errorCode } from "../sys/errno.ts";
import { readableWithin } from "../sys/files.ts";
import { read, readSync } from "../sys/fs.ts";

/** A signal that another thread of the runtime took is seen after so long at the latest. */
const GLANCE_MILLISECONDS = 20;
/** Then somebody is typing, or thinking. */
const PATIENCE_MILLISECONDS = 400;

/** Reads what is there, at most a buffer full; 0 at the end. Throws when reading fails. */
export async function readInput(fd: number, buffer: Buffer): Promise<number> {
  for (;;) {
    try {
      return (await soonReadable(fd)) ? readSync(fd, buffer) : await readLater(fd, buffer);
    } catch (error) {
      const code = errorCode(error);
      if (code !== "EAGAIN" && code !== "EINTR") throw error;
      // a parent gave us a non-blocking pipe
      if (code === "EAGAIN") await pause(0.005);
    }
  }
}

/** Most input is there at once: waiting for it here costs less than the runtime's file system and its threads. */
async function soonReadable(fd: number): Promise<boolean> {
  const deadline = performance.now() + PATIENCE_MILLISECONDS;
  while (!readableWithin(fd, GLANCE_MILLISECONDS)) {
    if (performance.now() > deadline) return false;
    await new Promise((resolve) => setImmediate(resolve));
  }
  return true;
}

const readLater = (fd: number, buffer: Buffer): Promise<number> =>
  new Promise((resolve, reject) => {
    read(fd, buffer, 0, buffer.length, null, (error, count) => (error ? reject(error) : resolve(count)));
  });
