/** One session after another: connect, greet, send messages while there are any (tools.md 13.1). */

import { fatal, verbose, warning } from "../../lib/log/log.ts";
import { ConnectionLost, readReply, type ServerReply } from "../../lib/smtp/client_reply.ts";
import { type Channel, ChannelTimeout } from "../../lib/sys/channel.ts";
import { sleep } from "../../lib/sys/timers.ts";
import { headerOf, numberedRecipient } from "./message.ts";
import type { Settings } from "./options.ts";

export interface Load {
  readonly settings: Settings;
  readonly body: Buffer;
  readonly connect: () => Promise<Channel>;
  /** Messages that nobody has begun to send. */
  remaining: number;
  /** Running number of recipients. */
  recipients: number;
  readonly sent: () => void;
}

/** How the end of a transaction is reached. */
type Outcome = "done" | "refused";

const RULES = { peer: "the server", lineLimit: 2048, utf8: true } as const;

/** Sends messages until none are left. Every failure that the options do not forgive ends the program. */
export async function runSession(load: Load, number: number): Promise<void> {
  while (load.remaining > 0) await new Session(load, number, await load.connect()).run();
}

class Session {
  readonly #load: Load;
  readonly #number: number;
  readonly #channel: Channel;

  constructor(load: Load, number: number, channel: Channel) {
    this.#load = load;
    this.#number = number;
    this.#channel = channel;
  }

  async run(): Promise<void> {
    const { settings } = this.#load;
    await this.#pause();
    this.#accept(await this.#reply("reading server greeting"), "2", "rejected at server banner");
    if (!settings.old) {
      const hello = settings.lmtp ? "LHLO" : "HELO";
      const reply = await this.#command(`${hello} ${settings.hostName}`, `sending ${hello}`);
      this.#accept(reply, "2", `${hello} rejected`);
    }
    for (;;) {
      // another session may have begun the last one
      if (this.#load.remaining === 0) break;
      const message = --this.#load.remaining;
      if ((await this.#transaction(message)) === "refused") await this.#command("RSET", "sending RSET");
      this.#load.sent();
      if (!settings.keepConnection || this.#load.remaining === 0) break;
      await this.#pause();
    }
    await this.#command("QUIT", "sending QUIT");
    this.#channel.destroy();
  }

  async #pause(): Promise<void> {
    const { kind, seconds } = this.#load.settings.delay;
    if (kind === "none") return;
    const wait = kind === "fixed" ? seconds : Math.random() * seconds;
    await sleep(wait);
  }

  async #transaction(message: number): Promise<Outcome> {
    const { settings, body } = this.#load;
    const sender = await this.#command(`MAIL FROM:<${settings.sender}>`, "sending sender");
    if (!this.#accept(sender, "2", "sender rejected")) return "refused";
    let recipient = settings.recipient;
    for (let count = 0; count < settings.recipients; count++) {
      if (settings.numbered || settings.recipients > 1)
        recipient = numberedRecipient(settings.recipient, this.#load.recipients++);
      const reply = await this.#command(`RCPT TO:<${recipient}>`, "sending recipient");
      if (!this.#accept(reply, "2", "recipient rejected")) return "refused";
    }
    const data = await this.#command("DATA", "sending DATA command");
    if (!this.#accept(data, "3", "data rejected")) return "refused";
    this.#channel.write(headerOf(settings, recipient, this.#number, message));
    this.#channel.write(body);
    this.#send(".");
    const replies = settings.lmtp ? settings.recipients : 1;
    for (let count = 0; count < replies; count++)
      this.#accept(await this.#reply("sending message"), "2", "end of data rejected");
    return "done";
  }

  #send(line: string): void {
    verbose(() => line);
    this.#channel.write(`${line}\r\n`);
  }

  async #command(line: string, doing: string): Promise<ServerReply> {
    this.#send(line);
    return await this.#reply(doing);
  }

  async #reply(doing: string): Promise<ServerReply> {
    try {
      await this.#channel.flush();
      const reply = await readReply(this.#channel, RULES);
      verbose(() => `<<< ${reply.text}`);
      return reply;
    } catch (error) {
      if (error instanceof ChannelTimeout) return fatal(`timeout while ${doing}`);
      if (error instanceof ConnectionLost || (error instanceof Error && "errno" in error))
        return fatal(`lost connection while ${doing}`);
      throw error;
    }
  }

  /** False for a refusal that the options forgive. */
  #accept({ code, text }: ServerReply, wanted: "2" | "3", problem: string): boolean {
    if (String(code).startsWith(wanted)) return true;
    const report = `${problem}: ${text}`;
    if (!this.#load.settings.tolerant) fatal(report);
    warning(report);
    return false;
  }
}
