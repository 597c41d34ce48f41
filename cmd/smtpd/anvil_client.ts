/** Connections to anvil(8): one for each session that limits apply to, kept for the next (ipc.md 5.8). */
import { parameter } from "../../lib/config/configuration.ts";
import { type Message, receive, send } from "../../lib/ipc/attributes.ts";
import { connectService } from "../../lib/ipc/client.ts";
import {
  AnvilConnectReply,
  AnvilGreeting,
  AnvilRateReply,
  AnvilRequest,
  AnvilStatusReply,
} from "../../lib/ipc/protocols/anvil.ts";
import { warning } from "../../lib/log/log.ts";
import type { Channel } from "../../lib/sys/channel.ts";
import { errorText } from "../../lib/sys/errno.ts";
import type { RateClient } from "./services.ts";

const PLAIN = { encoding: "plain" } as const;
/** Without anvil clients are served all the same; it is asked again after this time. */
const RETRY_MILLISECONDS = 10_000;
const IDLE_LIMIT = 100;

export class AnvilPool {
  private readonly idle: Channel[] = [];
  private absentUntil = 0;

  /** A connection that has been greeted; undefined when anvil cannot be reached (logged). */
  async take(): Promise<Channel | undefined> {
    for (let kept = this.idle.pop(); kept !== undefined; kept = this.idle.pop()) {
      if (!kept.readable && !kept.closed) return kept;
      kept.destroy();
    }
    if (performance.now() < this.absentUntil) return undefined;
    const service = "anvil";
    try {
      const channel = await connectService("private", service, parameter("ipc_timeout"));
      const greeting = await receive(channel, AnvilGreeting, PLAIN);
      if (greeting.kind === "value") return channel;
      channel.destroy();
    } catch (error) {
      if (error instanceof TypeError || error instanceof RangeError) throw error;
      warning(`connect to private/${service}: ${errorText(error)}`);
    }
    this.absentUntil = performance.now() + RETRY_MILLISECONDS;
    return undefined;
  }

  give(channel: Channel): void {
    if (channel.closed || this.idle.length >= IDLE_LIMIT) channel.destroy();
    else this.idle.push(channel);
  }
}

/** One session's counts. */
export class AnvilSession implements RateClient {
  private channel: Channel | undefined;
  private ident = "";

  constructor(private readonly pool: AnvilPool) {}

  async connect(ident: string): Promise<{ count: number; rate: number } | undefined> {
    if (this.channel !== undefined) await this.disconnect();
    this.ident = ident;
    for (let attempt = 0; attempt < 2; attempt++) {
      this.channel = await this.pool.take();
      if (this.channel === undefined) return undefined;
      const reply = await this.ask("connect", AnvilConnectReply);
      if (reply !== undefined) return reply;
    }
    warning(`problem talking to server private/${"anvil"}: Connection reset by peer`);
    return undefined;
  }

  async count(event: "message" | "recipient"): Promise<number | undefined> {
    return (await this.ask(event, AnvilRateReply))?.rate;
  }

  async disconnect(): Promise<void> {
    await this.ask("disconnect", AnvilStatusReply);
    if (this.channel !== undefined) this.pool.give(this.channel);
    this.channel = undefined;
  }

  /** Sends one request; a connection that fails is gone. */
  private async ask<T>(request: string, message: Message<T>): Promise<T | undefined> {
    const { channel } = this;
    if (channel === undefined) return undefined;
    try {
      send(channel, AnvilRequest, { request, ident: this.ident }, "plain");
      await channel.flush();
      const reply = await receive(channel, message, PLAIN);
      if (reply.kind === "value") return reply.value;
    } catch (error) {
      if (error instanceof TypeError || error instanceof RangeError) throw error;
    }
    channel.destroy();
    this.channel = undefined;
    return undefined;
  }
}
