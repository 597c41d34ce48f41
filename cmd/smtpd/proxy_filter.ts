/** A message on its way through a before-queue filter, which has the last word on it: smtpd_proxy_filter. */
import { warning } from "../../lib/log/log.ts";
import { Rec } from "../../lib/queue/records.ts";
import { printable, toBytes } from "../../lib/sys/bytes.ts";
import type { ContentStream } from "./message_stream.ts";
import { type ForwardedValues, ProxyDialogue, type ProxySettings } from "./proxy_dialogue.ts";
import { ProxySpool } from "./proxy_spool.ts";
import type { ProxyRefusal, ProxyTarget, ProxyVerdict } from "./proxy_target.ts";
import type { SessionServices } from "./services.ts";

const CR = 0x0d;
const LINE_END = toBytes("\r\n");
const DOT = 0x2e;
const DOTS = toBytes("..");

export class ProxyFilter implements ContentStream {
  readonly kind = "proxy";
  private midLine = false;

  private constructor(private readonly target: ProxyTarget) {}

  /** Begins a transaction with the client's MAIL command. */
  static async open(
    services: SessionServices,
    settings: ProxySettings,
    forwarded: ForwardedValues,
    mailCommand: string,
    spooled: boolean,
  ): Promise<ProxyFilter | ProxyRefusal> {
    const target = spooled
      ? ProxySpool.create(services, settings, forwarded)
      : await DirectTarget.open(services, settings, forwarded);
    if ("reply" in target) return target;
    const refusal = await target.command(mailCommand, "2");
    if (refusal === undefined) return new ProxyFilter(target);
    target.quit();
    return refusal;
  }

  recipient(command: string): Promise<ProxyRefusal | undefined> {
    return this.target.command(command, "2");
  }
  data(): Promise<ProxyRefusal | undefined> {
    return this.target.command("DATA", "3");
  }

  put(type: number, data: string | Uint8Array = ""): void {
    const bytes = typeof data === "string" ? toBytes(data) : Buffer.from(data);
    this.putSlice(type, bytes, 0, bytes.length, false);
  }

  /**
   * One line, or a piece of one. PRX-01: what reaches the filter ends in CR LF, holds no other CR, and begins with two dots where it begins with
   * one, whether the client did so or not.
   */
  putSlice(type: number, source: Buffer, start: number, end: number, stuffed: boolean): void {
    const whole = type === Rec.NORMAL;
    const first = !this.midLine;
    this.midLine = !whole;
    let bytes = source.subarray(start, end);
    if (first && stuffed && bytes[0] !== DOT) {
      warning(`prepending '.' to malformed line: '.${printable(bytes.toString("latin1", 0, 100))}'`);
      this.target.write(DOTS);
    } else if (first && bytes[0] === DOT) this.target.write(DOTS.subarray(0, 1));
    // the bytes are valid during this call only
    bytes = Buffer.from(bytes);
    for (let at = bytes.indexOf(CR); at >= 0; at = bytes.indexOf(CR, at + 1)) bytes[at] = 0x20;
    this.target.write(bytes);
    if (whole) this.target.write(LINE_END);
  }

  get full(): boolean {
    return this.target.full;
  }
  get writable(): boolean {
    return this.target.writable;
  }
  flush(): Promise<void> {
    return this.target.flush();
  }
  finish(): Promise<ProxyVerdict> {
    return this.target.finish();
  }
  abort(): void {
    this.target.quit();
  }
}

/** Everything goes to the filter as it comes. */
class DirectTarget implements ProxyTarget {
  private constructor(private readonly dialogue: ProxyDialogue) {}

  static async open(
    services: SessionServices,
    settings: ProxySettings,
    forwarded: ForwardedValues,
  ): Promise<DirectTarget | ProxyRefusal> {
    const dialogue = await ProxyDialogue.open(services, settings, forwarded);
    return "reply" in dialogue ? dialogue : new DirectTarget(dialogue);
  }

  async command(line: string, expected: "2" | "3"): Promise<ProxyRefusal | undefined> {
    const answer = await this.dialogue.command(line, expected);
    return answer.ok ? undefined : answer;
  }
  write(bytes: Uint8Array): void {
    this.dialogue.channel.write(bytes);
  }
  get full(): boolean {
    return this.dialogue.channel.unsent >= 64 * 1024;
  }
  get writable(): boolean {
    return this.dialogue.alive;
  }
  async flush(): Promise<void> {
    if (!this.dialogue.alive) return;
    try {
      await this.dialogue.channel.flush();
    } catch (error) {
      this.dialogue.lost(error);
    }
  }
  async finish(): Promise<ProxyVerdict> {
    const verdict = await this.dialogue.finish();
    this.dialogue.quit();
    return verdict;
  }
  quit(): void {
    this.dialogue.quit();
  }
}
