/** A client that comes with request after request on one connection (lib/sys/kept_socket.ts). Between them it counts as no client. */
import type { Channel } from "../sys/channel.ts";
import type { Soon } from "../sys/when.ts";
import type { Lifetime } from "./lifetime.ts";

export class KeptClient {
  #resting = false;

  constructor(
    private readonly channel: Channel,
    private readonly lifetime: Lifetime,
    /** What is done for each client before it is served. */
    private readonly admit: () => Soon<void>,
  ) {}

  /** Asked before the answer goes out: false when the connection is to be closed after it, as this process has enough to do or wants to end. */
  get stays(): boolean {
    return this.lifetime.keeps;
  }

  /** The answer is out: waits for the next request. False when the client is gone, or has to go. */
  async next(): Promise<boolean> {
    const { channel, lifetime } = this;
    lifetime.rest(channel);
    this.#resting = true;
    if (!channel.readable && !(await channel.more())) return false;
    if (channel.buffered === 0 && channel.atEnd) return false;
    if (!lifetime.resume(channel)) return false;
    this.#resting = false;
    const admitted = this.admit();
    if (admitted instanceof Promise) await admitted;
    return true;
  }

  /** The connection is closed. */
  leave(): void {
    if (this.#resting) this.lifetime.dismiss(this.channel);
    else this.lifetime.leave();
  }
}
