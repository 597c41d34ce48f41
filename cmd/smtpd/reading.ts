/** Reading content and discarding it, with the time limits of smtpd_timeout and smtpd_min_data_rate. */
import type { ContentStream } from "./message_stream.ts";
import type { Session } from "./session.ts";
import { SessionEnd } from "./session_end.ts";

/** Hands chunks to `take`, which puts them `into` a stream, until it says how much of a chunk was the last that belongs to it (-1: all, and more is to come). */
export async function readChunks(
  session: Session,
  take: (chunk: Buffer) => number,
  into?: ContentStream,
): Promise<void> {
  const { channel, settings } = session;
  let deadline = settings.perRequestDeadline ? performance.now() + settings.timeout * 1000 : 0;
  for (;;) {
    if (channel.buffered === 0) {
      const flushed = session.chat.flush();
      if (flushed instanceof Promise) await flushed;
      if (deadline > 0) channel.setDeadline(Math.max(0.001, (deadline - performance.now()) / 1000));
      if (!(await channel.more())) throw new SessionEnd("lost connection");
    }
    const chunk = channel.peek();
    const size = chunk.length;
    const done = take(chunk);
    channel.consume(done < 0 ? size : done);
    if (deadline > 0)
      deadline = Math.min(
        deadline + (size * 1000) / settings.minDataRate,
        performance.now() + settings.timeout * 1000,
      );
    if (into?.full === true) await into.flush();
    if (done >= 0) break;
  }
  session.chat.noteRead();
}
