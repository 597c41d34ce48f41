/** The SMTP dialogue with a before-queue filter: connect, greeting, EHLO, XFORWARD, and the client's own commands (smtpd.md 18.1). */
import type { Endpoint } from "../../lib/dns/endpoint.ts";
import { warning } from "../../lib/log/log.ts";
import { xforwardText } from "../../lib/smtp/client_command.ts";
import { parseFeatures, type XforwardAttribute } from "../../lib/smtp/client_features.ts";
import { ConnectionLost, readReply } from "../../lib/smtp/client_reply.ts";
import { breakdown } from "../../lib/smtp/client_session.ts";
import { type Channel, ChannelTimeout } from "../../lib/sys/channel.ts";
import { errorText } from "../../lib/sys/errno.ts";
import type { ProxyRefusal, ProxyVerdict } from "./proxy_target.ts";
import type { SessionServices } from "./services.ts";

export interface ProxySettings {
  /** The filter as it is configured: how log lines call it. */
  readonly service: string;
  readonly endpoint: Endpoint;
  readonly ehlo: string;
  /** Seconds for each step. */
  readonly timeout: number;
  readonly lineLimit: number;
  readonly utf8: boolean;
}

/** Replies: lines joined by CR LF. */
export type ProxyAnswer =
  | { readonly ok: true; readonly reply: string }
  | ({ readonly ok: false } & ProxyRefusal);

/** The first digit of a good reply; `any` takes what comes. */
type Expected = "2" | "3" | "any";

/** What the filter is told about the client, in the order of the commands. */
export type ForwardedValues = ReadonlyArray<readonly [XforwardAttribute, string]>;

export const FILTER_FAILURE: ProxyRefusal = {
  reply: "451 4.3.0 Error: queue file write error",
  errorClass: "resource",
};
const broken: ProxyAnswer = { ok: false, ...FILTER_FAILURE };

/** RFC 5321 section 4.5.3.1.4, less the verb and the line end. */
const XFORWARD_LIMIT = 512 - 14;

export class ProxyDialogue {
  private constructor(
    readonly channel: Channel,
    private readonly settings: ProxySettings,
  ) {}

  /** Connects and makes everything ready for MAIL. */
  static async open(
    services: Pick<SessionServices, "connect">,
    settings: ProxySettings,
    forwarded: ForwardedValues,
  ): Promise<ProxyDialogue | ProxyRefusal> {
    const { service, endpoint, timeout } = settings;
    let channel: Channel;
    try {
      channel = await services.connect(endpoint, timeout);
    } catch (error) {
      if (error instanceof TypeError || error instanceof RangeError) throw error;
      warning(`connect to proxy filter ${service}: ${errorText(error)}`);
      return FILTER_FAILURE;
    }
    const dialogue = new ProxyDialogue(channel, settings);
    const problem = await dialogue.introduce(forwarded);
    if (problem === undefined) return dialogue;
    dialogue.quit();
    return problem;
  }

  private async introduce(forwarded: ForwardedValues): Promise<ProxyRefusal | undefined> {
    const { ehlo } = this.settings;
    const greeting = await this.expect("connection request", "2");
    const hello = greeting.ok ? await this.command(`EHLO ${ehlo}`, "2") : greeting;
    // these are our own affair: the client is told nothing of them
    if (!hello.ok) return { ...FILTER_FAILURE, errorClass: hello.errorClass };
    const { xforward } = parseFeatures(hello.reply.replaceAll("\r\n", "\n"));
    for (const line of xforwardLines(forwarded.filter(([name]) => xforward.has(name)))) {
      const answer = await this.command(line, "2");
      if (!answer.ok) return { ...FILTER_FAILURE, errorClass: answer.errorClass };
    }
    return undefined;
  }

  /** False once the connection is gone. */
  get alive(): boolean {
    return !this.channel.closed;
  }

  /** One command, whatever ends a line in it made a blank. */
  async command(line: string, expected: Expected): Promise<ProxyAnswer> {
    if (!this.alive) return broken;
    this.channel.write(`${line.replace(/[\r\n\0]/g, " ")}\r\n`);
    return this.expect(line, expected);
  }

  private async expect(what: string, expected: Expected): Promise<ProxyAnswer> {
    const { service, lineLimit, utf8 } = this.settings;
    let text: string;
    try {
      await this.channel.flush();
      const reply = await readReply(this.channel, {
        peer: service,
        lineLimit,
        utf8,
        onJunk: (line) => warning(`received garbage from proxy ${service}: ${line.slice(0, 100)}`),
      });
      text = reply.text;
    } catch (error) {
      this.lost(error);
      return broken;
    }
    if (expected === "any" && isOneReply(text)) return { ok: true, reply: text.replaceAll("\n", "\r\n") };
    if (text.startsWith(expected)) return { ok: true, reply: text.replaceAll("\n", "\r\n") };
    warning(`proxy ${service} rejected "${what}": "${text.replaceAll("\n", "??")}"`);
    if (isOneReply(text) && /^[45]/.test(text))
      return { ok: false, reply: text.replaceAll("\n", "\r\n"), errorClass: "policy" };
    return broken;
  }

  /** Ends the content: what the filter says of the message is what the client hears. */
  async finish(): Promise<ProxyVerdict> {
    const answer = await this.command(".", "any");
    if (!answer.ok) return { accepted: false, reply: answer.reply, errorClass: answer.errorClass };
    const accepted = answer.reply.startsWith("2");
    return { accepted, reply: answer.reply, errorClass: accepted ? undefined : "policy" };
  }

  /** Ends the connection after a failure of it (logged once). */
  lost(error: unknown): void {
    const known = error instanceof ConnectionLost || breakdown(error) !== undefined;
    if (!known && (error instanceof TypeError || error instanceof RangeError)) throw error;
    const { service } = this.settings;
    warning(
      error instanceof ChannelTimeout
        ? `timeout talking to proxy ${service}`
        : `lost connection with proxy ${service}`,
    );
    this.channel.destroy();
  }

  /** Says good-bye without waiting for an answer; within content that ends nothing. */
  quit(): void {
    if (!this.alive) return;
    this.channel.write("QUIT\r\n");
    void this.channel.close();
  }
}

/** All lines have the same code: what a client can take for one reply. */
function isOneReply(text: string): boolean {
  const code = text.slice(0, 3);
  return /^[245][0-9][0-9]$/.test(code) && text.split("\n").every((line) => line.startsWith(code));
}

/** XFORWARD commands, as few as the length of a command allows. */
function xforwardLines(values: ForwardedValues): string[] {
  const lines: string[] = [];
  let line = "";
  for (const [name, value] of values) {
    const word = ` ${name}=${value === "" ? "[UNAVAILABLE]" : xforwardText(value)}`;
    if (line !== "" && line.length + word.length > XFORWARD_LIMIT) {
      lines.push(`XFORWARD${line}`);
      line = "";
    }
    line += word;
  }
  if (line !== "") lines.push(`XFORWARD${line}`);
  return lines;
}
