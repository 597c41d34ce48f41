/** A Channel over standard input and output, for stand-alone servers (-S) and for postdrop. */

import { Channel } from "../sys/channel.ts";
import { errnoNumber, errorCode, SysError } from "../sys/errno.ts";
import { writeSync } from "../sys/fs.ts";

/** Reads descriptor 0, writes descriptor 1. */
export function standardChannel(name = "standard input"): Channel {
  const channel = new Channel(name);
  const reader = (Bun.stdin.stream() as unknown as ReadableStream<Uint8Array>).getReader();
  let paused = false;
  let wake: (() => void) | undefined;
  channel.attach({
    write(bytes) {
      let done = 0;
      while (done < bytes.length) {
        try {
          done += writeSync(1, bytes, done);
        } catch (error) {
          const code = errorCode(error);
          if (code === "EAGAIN") {
            Bun.sleepSync(1);
            continue;
          }
          if (code === undefined) throw error;
          channel.onClose(new SysError("write", errnoNumber(code), name));
          return -1;
        }
      }
      return done;
    },
    end: () => undefined,
    terminate: () => {
      void reader.cancel();
    },
    pause: () => {
      paused = true;
    },
    resume: () => {
      paused = false;
      wake?.();
    },
  });
  void (async () => {
    for (;;) {
      const { done, value } = await reader.read();
      if (done || value === undefined) break;
      channel.onData(value);
      if (paused)
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
    channel.onEnd();
  })();
  return channel;
}
