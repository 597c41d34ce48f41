/** Replies to the client: filters, footers, soft_bounce, the transcript for the postmaster, the penalty for errors (smtpd.md 12). */
import { info, verbosity, warning } from "../../lib/log/log.ts";
import { logDialogue } from "../../lib/smtp/debug_peers.ts";
import { appendFooter, isFinalReply, isRejectReply, renderReply, replyLines } from "../../lib/smtp/reply.ts";
import { printable, trimEndSpace } from "../../lib/sys/bytes.ts";
import type { Channel } from "../../lib/sys/channel.ts";
import type { Soon } from "../../lib/sys/when.ts";
import type { Policy } from "./policy.ts";

/** Replies are sent at least this often while a group of pipelined commands is worked on, in milliseconds. */
const FLUSH_INTERVAL = 10_000;

/** What replies tell of their session. */
export interface ChatSubject {
  /** `name[address]` of the client, for log lines. */
  readonly nameAddress: string;
  /** Queue ID of the open message, for log lines. */
  readonly queueId: string;
  readonly services: { sleep(seconds: number): Promise<void> };
  /** What the macros of a footer see. */
  macro(name: string): string | undefined;
}

export class Chat {
  /** Lines of the dialogue since it was last reported. */
  history: string[] = [];
  /** A reply with 421 or 521 was sent: the session ends. */
  hangup = false;
  /** Added to the verbosity for this session (debug_peer_level). */
  debugLevel = 0;
  private lastRead = 0;

  constructor(
    private readonly channel: Channel,
    private readonly policy: Policy,
    private readonly subject: ChatSubject,
  ) {}

  /** Input was read: replies may wait for more of its group. */
  noteRead(): void {
    this.lastRead = performance.now();
  }

  noteQuery(line: string): void {
    logDialogue(this.debugLevel, "<", this.subject.nameAddress, line);
    if (this.recording) this.history.push(`In:  ${trimEndSpace(line)}`);
  }

  private get recording(): boolean {
    return this.policy.settings.notifyClasses.size > 0;
  }

  /** Sends a reply; its lines are joined by CR LF. `errors` is the session's count, for the penalty. */
  reply(text: string, errors = 0): Soon<void> {
    const penalty = errors >= this.policy.settings.softErrorLimit;
    const rejected = text.charCodeAt(0) === 0x34 || text.charCodeAt(0) === 0x35;
    if (penalty || rejected) return this.slowReply(text, penalty, rejected);
    this.put(text);
    if (performance.now() - this.lastRead > FLUSH_INTERVAL) return this.flush();
  }

  private async slowReply(text: string, penalty: boolean, rejected: boolean): Promise<void> {
    if (penalty) {
      await this.flush();
      await this.subject.services.sleep(this.policy.settings.errorSleepTime);
    }
    this.put(rejected ? await this.dressed(text) : text);
    if (penalty || performance.now() - this.lastRead > FLUSH_INTERVAL) await this.flush();
  }

  private put(text: string): void {
    const rendered = renderReply(text, this.policy.settings.softBounce);
    if (this.recording || verbosity() + this.debugLevel > 0)
      for (const line of replyLines(rendered.slice(0, -2))) {
        logDialogue(this.debugLevel, ">", this.subject.nameAddress, line);
        if (this.recording) this.history.push(`Out: ${line}`);
      }
    this.channel.write(rendered);
    if (isFinalReply(rendered)) this.hangup = true;
  }

  flush(): Soon<void> {
    return this.channel.flush();
  }

  /** A 4xx or 5xx reply after smtpd_reject_filter_maps and the footer. */
  private async dressed(text: string): Promise<string> {
    const { rejectFilterMaps, rejectFooterMaps, settings } = this.policy;
    let reply = text;
    if (!rejectFilterMaps.empty) {
      const result = await rejectFilterMaps.lookup(reply);
      if (result.kind === "found") {
        if (isRejectReply(result.value)) {
          info(`${this.subject.queueId}: reply filter in: ${reply}`);
          info(`${this.subject.queueId}: reply filter out: ${result.value}`);
          reply = result.value;
        } else warning(`${this.subject.queueId}: ignoring invalid reject filter result: ${result.value}`);
      }
    }
    let footer: string | undefined;
    if (!rejectFooterMaps.empty) {
      const result = await rejectFooterMaps.lookup(reply);
      if (result.kind === "found") footer = result.value;
    }
    footer ??= settings.rejectFooter === "" ? undefined : settings.rejectFooter;
    return footer === undefined ? reply : appendFooter(reply, this.expand(footer));
  }

  private expand(footer: string): string {
    return this.policy.expandReply(footer, (name) => this.subject.macro(name));
  }

  /** Masks text of strangers for a log line. */
  static clean(text: string): string {
    return printable(text);
  }
}
