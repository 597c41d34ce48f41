/** A Channel over the output of a program. */
import { Channel } from "../../lib/sys/channel.ts";

export function channelOfStream(stream: ReadableStream<Uint8Array>, name: string): Channel {
  const channel = new Channel(name);
  const reader = stream.getReader();
  let resume: (() => void) | undefined;
  let paused = false;
  channel.attach({
    write: () => -1,
    end: () => undefined,
    terminate: () => {
      void reader.cancel();
    },
    pause: () => {
      paused = true;
    },
    resume: () => {
      paused = false;
      resume?.();
    },
  });
  void (async () => {
    for (let piece = await reader.read(); piece.done !== true; piece = await reader.read()) {
      channel.onData(piece.value);
      if (paused)
        await new Promise<void>((resolve) => {
          resume = resolve;
        });
    }
    channel.onEnd();
  })();
  return channel;
}
