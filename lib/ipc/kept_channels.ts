/** Connections to a service that are used again, one request after another, when the service is one of ours (lib/sys/kept_socket.ts). */
import type { Channel } from "../sys/channel.ts";

/** A connection without a request is closed after so many seconds. */
const IDLE_SECONDS = 5;

interface Idle {
  readonly channel: Channel;
  readonly since: number;
}

export class KeptChannels {
  /** The one used last comes last. */
  #idle: Idle[] = [];
  #sweeper: ReturnType<typeof setInterval> | undefined;

  /** A connection that has done a request, for the next one; undefined when there is none. The service may have closed it. */
  take(): Channel | undefined {
    for (;;) {
      const channel = this.#idle.pop()?.channel;
      if (channel === undefined) return undefined;
      if (!channel.closed && !channel.readable) return channel;
      channel.destroy();
    }
  }

  /** The connection has done its request. A service that does not keep it closes it. */
  put(channel: Channel): void {
    this.#idle.push({ channel, since: performance.now() });
    this.#sweeper ??= setInterval(() => this.#sweep(), 1000);
    this.#sweeper.unref();
  }

  #sweep(): void {
    const limit = performance.now() - IDLE_SECONDS * 1000;
    const isDone = ({ channel, since }: Idle): boolean => since < limit || channel.closed || channel.readable;
    for (const idle of this.#idle) if (isDone(idle)) idle.channel.destroy();
    this.#idle = this.#idle.filter((idle) => !isDone(idle));
    if (this.#idle.length > 0) return;
    clearInterval(this.#sweeper);
    this.#sweeper = undefined;
  }
}
