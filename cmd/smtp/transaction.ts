/** One mail transaction over a session that is ready for it: commands in groups, content, the end (delivery.md 9.2). */

import { type Dsn, dsn } from "../../lib/delivery/status.ts";
import { warning } from "../../lib/log/log.ts";
import { UnsafeCommand } from "../../lib/smtp/client_command.ts";
import { CommandPipeline } from "../../lib/smtp/client_pipeline.ts";
import { breakdown, nameAddress, nameAddressPort, type SmtpSession } from "../../lib/smtp/client_session.ts";
import { sleep } from "../../lib/sys/timers.ts";
import type { Soon } from "../../lib/sys/when.ts";
import { ContentFailure, needsDowngrade, writeContent } from "./content.ts";
import { type Delivery, refusal } from "./delivery.ts";
import { mailCommand, rcptCommand, xforwardCommands } from "./envelope.ts";
import type { PixWorkarounds } from "./hello.ts";
import type { SessionNotes } from "./notice.ts";
import { Outcome, StaleSession } from "./outcome.ts";
import { brokenStatus, DOING, DOING_BODY, type Step } from "./steps.ts";

export interface TransactionOptions {
  readonly pix: PixWorkarounds;
  /** The connection may be kept for another delivery when all goes well. */
  readonly mayKeep: boolean;
}

class Transaction {
  readonly #delivery: Delivery;
  readonly #session: SmtpSession;
  readonly #outcome: Outcome;
  readonly #pipe: CommandPipeline<Step>;
  readonly #pipelining: boolean;
  /** Content is on its way. */
  #inContent = false;
  /** The outcome is settled: what breaks now does not matter. */
  #settled = false;

  constructor(
    delivery: Delivery,
    session: SmtpSession,
    private readonly notes: SessionNotes,
    private readonly options: TransactionOptions,
  ) {
    this.#delivery = delivery;
    this.#session = session;
    this.#outcome = new Outcome(delivery, session, notes);
    this.#pipelining = session.features.keywords.has("PIPELINING");
    this.#pipe = new CommandPipeline<Step>(
      session,
      this.#pipelining,
      (step, reply) => this.#outcome.take(step, reply),
      (step) => {
        session.state = DOING[step.kind];
      },
    );
    if (this.#pipelining) session.onJunk = (line) => this.#warnOfJunk(line);
  }

  get #settings() {
    return this.#delivery.agent.settings;
  }

  /** The connection is to be kept, as things stand. */
  get #keep(): boolean {
    return this.options.mayKeep && !this.#outcome.resetRefused;
  }

  #warnOfJunk(line: string): void {
    const { peer } = this.#session;
    const protocol = this.#settings.mode === "smtp" ? "ESMTP" : "LMTP";
    const parameterName = this.#settings.name("discard_ehlo_keyword_address_maps");
    warning(`${this.#delivery.queueId}: non-${protocol} response from ${nameAddressPort(peer)}: ${line}`);
    warning(
      `to prevent loss of mail, turn off command pipelining for ${peer.address} with the ${parameterName} parameter`,
    );
  }

  /** Runs the transaction; true when the connection can be kept. */
  async run(): Promise<boolean> {
    const session = this.#session;
    try {
      await this.#perform();
      return this.#keep && !session.broken && !session.unproven;
    } catch (error) {
      session.broken = true;
      // Nothing was heard of an unproven session: another one will do its work.
      const harmless = session.unproven && (error instanceof StaleSession || breakdown(error) !== undefined);
      if (!harmless) await this.#onError(error);
      return false;
    } finally {
      session.onJunk = undefined;
    }
  }

  async #onError(error: unknown): Promise<void> {
    const outcome = this.#outcome;
    if (error instanceof ContentFailure) return outcome.fail("message", error.status);
    const kind = breakdown(error);
    if (kind === undefined) throw error;
    if (kind === "data") {
      this.notes.mark("data");
      return outcome.fail("site", brokenStatus(this.#session, kind));
    }
    if (this.#settled || outcome.pending().length === 0) return;
    const early = this.#inContent ? await this.#earlyRefusal() : undefined;
    if (early !== undefined) return outcome.fail("message", early);
    return outcome.fail("site", brokenStatus(this.#session, kind));
  }

  /** The server may have said why before it closed the connection in the middle of the content. */
  async #earlyRefusal(): Promise<Dsn | undefined> {
    if (this.#session.channel.buffered === 0) return undefined;
    try {
      const reply = await this.#session.reply(1);
      return reply.code < 400 ? undefined : refusal(this.#session, reply, "end of DATA command");
    } catch (error) {
      if (breakdown(error) === undefined) throw error;
      return undefined;
    }
  }

  async #perform(): Promise<void> {
    const { request } = this.#delivery;
    const { features, peer } = this.#session;
    const { sizeLimit } = features;
    if (sizeLimit > 0 && request.size > sizeLimit) {
      const reason = `message size ${request.size} exceeds size limit ${sizeLimit} of server ${nameAddress(peer)}`;
      await this.#outcome.fail("message", dsn("5.3.4", reason));
      if (!this.#keep) this.#session.broken = true;
      return;
    }
    if (this.#session.unproven) this.#pipe.add({ kind: "probe" }, "RSET", this.#settings.limits.rset);
    if (!(await this.#sendEnvelope()) || this.#outcome.endsAtRecipients) return this.#abandon();
    if (!(await this.#command({ kind: "data" }, "DATA", this.#settings.limits.dataInit)))
      return this.#abandon();
    await this.#pipe.collect();
    return this.#outcome.dataReady ? this.#sendContent() : this.#abandon();
  }

  /** Sends a command as the pipeline allows; false when replies that came meanwhile make it pointless. */
  #command(step: Step, line: string, seconds: number): Soon<boolean> {
    if (this.#pipe.mustCollect(line)) return this.#commandAfterReplies(step, line, seconds);
    this.#pipe.add(step, line, seconds);
    return true;
  }

  async #commandAfterReplies(step: Step, line: string, seconds: number): Promise<boolean> {
    await this.#pipe.collect();
    const { mailRejected, accepted } = this.#outcome;
    if (step.kind === "rcpt" && mailRejected) return false;
    if (step.kind === "data" && (mailRejected || accepted.length === 0)) return false;
    this.#pipe.add(step, line, seconds);
    return true;
  }

  /** XFORWARD, MAIL and RCPT; false when DATA is not to follow. */
  async #sendEnvelope(): Promise<boolean> {
    const delivery = this.#delivery;
    const outcome = this.#outcome;
    const { limits } = this.#settings;
    const { features } = this.#session;
    const command = safely(() => mailCommand(delivery, features));
    const mail = command instanceof Promise ? await command : command;
    if (mail === undefined) {
      await outcome.fail("message", dsn("5.1.7", "bad sender address syntax"));
      return false;
    }
    const xforward = xforwardCommands(delivery, features);
    if (xforward.nameAddress !== undefined)
      await this.#command({ kind: "xforwardName" }, xforward.nameAddress, limits.xforward);
    if (xforward.protocolHelo !== undefined)
      await this.#command({ kind: "xforwardProtocol" }, xforward.protocolHelo, limits.xforward);
    const begun = this.#command({ kind: "mail" }, mail, limits.mail);
    if (begun instanceof Promise) await begun;
    outcome.open = true;
    let sent = 0;
    for (const recipient of outcome.pending()) {
      const command = safely(() => rcptCommand(delivery, recipient, features));
      const line = command instanceof Promise ? await command : command;
      if (line === undefined) {
        await delivery.finish(dsn("5.1.3", "bad recipient address syntax"), this.#session, [recipient]);
        continue;
      }
      const added = this.#command({ kind: "rcpt", recipient }, line, limits.rcpt);
      if (!(added instanceof Promise ? await added : added)) return false;
      sent++;
    }
    return sent > 0;
  }

  /** The message, or nothing when nobody is left to get it, and the end of data. */
  async #sendContent(): Promise<void> {
    const session = this.#session;
    const { accepted, mailRejected, isProbe } = this.#outcome;
    if (isProbe) {
      // There is no way back from the data stage but to hang up.
      session.broken = true;
      this.#settled = true;
      return;
    }
    const { limits, mode, skipQuitResponse } = this.#settings;
    const recipients = mailRejected ? [] : accepted;
    const quitNow = this.#pipelining && !this.#keep;
    const ending = quitNow ? ".\r\nQUIT\r\n" : ".\r\n";
    if (recipients.length === 0) session.channel.write(ending);
    else await this.#sendBody(ending);
    await session.flush(limits.dataTransfer);
    this.#inContent = false;
    session.note(" Out: .");
    if (quitNow) {
      session.note(" Out: QUIT");
      session.quitting = true;
    }
    const groups = mode === "lmtp" && recipients.length > 0 ? recipients.map((one) => [one]) : [recipients];
    for (const group of groups) this.#pipe.expect({ kind: "dot", recipients: group }, limits.dataDone);
    await this.#pipe.collect();
    this.#settled = true;
    if (!quitNow) {
      if (!this.#keep) await this.#quit();
    } else if (!skipQuitResponse) await this.#awaitQuit();
  }

  async #sendBody(ending: string): Promise<void> {
    const session = this.#session;
    const { limits, perRequestDeadline, minDataRate } = this.#settings;
    session.state = DOING_BODY;
    this.#inContent = true;
    session.channel.setDeadline(
      perRequestDeadline ? limits.dataTransfer + this.#delivery.request.size / minDataRate : 0,
    );
    const send = async (chunk: Buffer): Promise<void> => {
      session.channel.write(chunk);
      await session.send(limits.dataTransfer);
    };
    const downgrade = needsDowngrade(this.#delivery, session.features.keywords.has("8BITMIME"));
    const writer = await writeContent(this.#delivery, downgrade, send);
    try {
      if (this.options.pix.delayDot) {
        await send(writer.take());
        const seconds = this.#settings.get("pix_workaround_delay_time");
        await sleep(seconds);
      }
      writer.raw(ending);
      session.state = DOING.dot;
      await send(writer.take());
    } finally {
      writer.release();
    }
  }

  /** Ends a transaction that leads to nothing. */
  async #abandon(): Promise<void> {
    await this.#pipe.collect();
    this.#settled = true;
    if (this.#outcome.open) {
      this.#outcome.open = false;
      this.#pipe.add({ kind: "rset" }, "RSET", this.#settings.limits.rset);
      if (this.#keep || !this.#pipelining) await this.#pipe.collect();
    }
    if (!this.#keep) await this.#quit();
  }

  async #quit(): Promise<void> {
    const { limits, skipQuitResponse } = this.#settings;
    this.#session.command("QUIT");
    this.#session.quitting = true;
    if (this.#pipe.outstanding > 0) await this.#pipe.collect();
    else await this.#session.flush(limits.quit);
    if (!skipQuitResponse) await this.#awaitQuit();
  }

  async #awaitQuit(): Promise<void> {
    this.#pipe.expect({ kind: "quit" }, this.#settings.limits.quit);
    await this.#pipe.collect();
  }
}

/** A command's text, undefined when it would hold line ends. */
function safely(make: () => Soon<string>): Soon<string | undefined> {
  try {
    const command = make();
    return command instanceof Promise ? command.catch(unsafe) : command;
  } catch (error) {
    return unsafe(error);
  }
}

function unsafe(error: unknown): undefined {
  if (!(error instanceof UnsafeCommand)) throw error;
}

/** Sends the message to the recipients that are left; true when the connection can be kept for another delivery. */
export const transact = (
  delivery: Delivery,
  session: SmtpSession,
  notes: SessionNotes,
  options: TransactionOptions,
): Promise<boolean> => new Transaction(delivery, session, notes, options).run();
