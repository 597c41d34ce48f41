/** One evaluation of restriction lists: what is known, what was decided so far, and how a refusal is made (smtpd.md 20.1 to 20.3). */

import { RESOLVE_FLAG } from "../../../lib/ipc/protocols/rewrite.ts";
import { info, warning } from "../../../lib/log/log.ts";
import { isStatus, withClass } from "../../../lib/smtp/dsn.ts";
import { printable } from "../../../lib/sys/bytes.ts";
import { type Soon, when } from "../../../lib/sys/when.ts";
import type { Policy } from "../policy.ts";
import type { Resolved } from "../services.ts";
import type { Session } from "../session.ts";
import type { ErrorClass } from "../session_end.ts";
import type { AccessActions } from "../transaction.ts";

export type Verdict = "dunno" | "permit" | "reject";

/** Where a list stands: the name and class that its replies show, and what a bare `type:table` in it means. */
export interface Frame {
  readonly name: string;
  readonly class: string;
  readonly tableCheck: string | undefined;
}

/** A restriction; `argument` takes the next element of the list. */
export type Restriction = (
  evaluation: Evaluation,
  frame: Frame,
  argument: () => string | undefined,
  name: string,
) => Soon<Verdict>;

/** A refusal before it is worded. */
export interface Refusal {
  readonly errorClass: ErrorClass;
  readonly code: number;
  readonly dsn: string;
  readonly text: string;
}

/** What the restrictions may look at; absent when the dialogue has not come to it. */
export interface Subject {
  /** Name of the stage for policy and for actions. */
  readonly stage: "CONNECT" | "HELO" | "MAIL" | "RCPT" | "VRFY" | "DATA" | "END-OF-MESSAGE" | "ETRN";
  readonly helo: string | undefined;
  readonly sender: string | undefined;
  readonly recipient: string | undefined;
  /** Recipients accepted so far. */
  readonly recipientCount: number;
  readonly etrnDomain?: string;
  readonly size?: number;
}

/** Ends an evaluation from within: the reply is made already. */
export class EvaluationEnd extends Error {}

/** The client is cut off without a word (HANGUP). */
export class HangUp extends Error {}

const REPLY_LIMIT = 510;
/** Deeper nesting of classes and table results is a loop. */
const NESTING_LIMIT = 100;

export type ListEvaluator = (evaluation: Evaluation, list: readonly string[], frame: Frame) => Soon<Verdict>;

export class Evaluation {
  /** The reply, once the verdict is "reject". */
  reply = "";
  deferIfPermit: Refusal | undefined;
  deferIfReject: Refusal | undefined;
  /** Inside the object of warn_if_reject. */
  warnOnly = false;
  /** Acting on what a policy server that does not answer stands for. */
  defaultAction = false;
  private depth = 0;
  /** Refusals so far, those of warn_if_reject included. */
  rejections = 0;
  recipientListed = false;
  senderListed = false;

  constructor(
    readonly session: Session,
    readonly subject: Subject,
    /** Where HOLD, FILTER and their like are noted; undefined where there is no message yet. */
    readonly actions: AccessActions | undefined,
    private readonly evaluateList: ListEvaluator,
  ) {}

  /** Evaluates a list within the one at work: a class, or the result of a table. `loop` is said when they nest without end. */
  async nested(list: readonly string[], frame: Frame, loop: string): Promise<Verdict> {
    if (this.depth >= NESTING_LIMIT) {
      warning(loop);
      return this.serverError();
    }
    this.depth++;
    try {
      return await this.evaluateList(this, list, frame);
    } finally {
      this.depth--;
    }
  }

  get policy(): Policy {
    return this.session.policy;
  }
  get settings(): Policy["settings"] {
    return this.session.settings;
  }

  /** Refuses, or under warn_if_reject only says so. A reply has at most `limit` bytes. */
  reject(errorClass: ErrorClass, code: number, dsn: string, text: string, limit = REPLY_LIMIT): Verdict {
    let reply = this.wording(code, dsn, text, limit);
    this.rejections++;
    const { session, subject } = this;
    session.noteError(errorClass);
    const always = errorClass === "software" || errorClass === "resource" || errorClass === "data";
    if (this.warnOnly && !always) {
      session.logDecision("reject_warning", reply, subject.recipient);
      return "dunno";
    }
    const deferral = this.deferIfReject;
    if (deferral !== undefined && reply.startsWith("5")) {
      session.noteError(deferral.errorClass);
      reply = this.wording(deferral.code, deferral.dsn, deferral.text);
    }
    this.reply = reply;
    session.logDecision("reject", reply, subject.recipient);
    return "reject";
  }

  private wording(code: number, dsn: string, text: string, limit = REPLY_LIMIT): string {
    let reply = `${code} ${dsn} ${text}`;
    if (code < 400 || code > 599) {
      warning(`SMTP reply code configuration error: ${reply}`);
      reply = "450 4.7.1 Service unavailable";
    } else if (!isStatus(dsn)) {
      warning(`DSN detail code configuration error: ${reply}`);
      reply = "450 4.7.1 Service unavailable";
    }
    reply = printable(reply.slice(0, limit), this.settings.utf8, " ");
    if (this.settings.softBounce && reply.startsWith("5")) reply = `4${reply.slice(1)}`;
    return `${reply.slice(0, 4)}${withClass(reply.slice(4), reply)}`;
  }

  /** Turns an acceptance into a deferral later, unless something rejects. The first one counts. */
  deferOnPermit(refusal: Refusal): Verdict {
    if (this.warnOnly) return this.reject(refusal.errorClass, refusal.code, refusal.dsn, refusal.text);
    this.deferIfPermit ??= refusal;
    return "dunno";
  }

  /** Turns a permanent rejection into a deferral later. */
  deferOnReject(refusal: Refusal): Verdict {
    if (!this.warnOnly) this.deferIfReject ??= refusal;
    return "dunno";
  }

  /** The configuration makes no sense: the command is put off, nothing else is asked. */
  serverError(): never {
    this.reject("software", 451, "4.3.5", "Server configuration error");
    throw new EvaluationEnd();
  }

  /** A table or the resolver failed for a while. */
  lookupFailure(address: string): never {
    this.reject("data", 451, "4.3.0", `<${address}>: Temporary lookup failure`);
    throw new EvaluationEnd();
  }

  /** Logs a permit where smtpd_log_access_permit_actions wants it. */
  permit(
    action: string,
    frame: { name: string; class: string },
    detail = "",
    restriction = action,
  ): Soon<"permit"> {
    return this.policy.logPermitActions.empty
      ? "permit"
      : this.permitLogged(action, frame, detail, restriction);
  }

  private async permitLogged(
    action: string,
    frame: { name: string; class: string },
    detail: string,
    restriction: string,
  ): Promise<"permit"> {
    const list = this.policy.logPermitActions;
    if (
      (await list.matchesSurely(action)) ||
      (restriction !== action && (await list.matchesSurely(restriction)))
    )
      this.session.logDecision(
        "permit",
        `action=${action} for ${frame.class}=${frame.name} ${detail}`,
        this.subject.recipient,
      );
    return "permit";
  }

  /** Resolves the sender; the answer of MAIL FROM is remembered by the client of trivial-rewrite. */
  resolveSender(sender: string): Soon<Resolved> {
    return this.resolved("", sender);
  }

  resolveRecipient(recipient: string): Soon<Resolved> {
    return this.resolved(this.subject.sender ?? "", recipient);
  }

  private resolved(sender: string, address: string): Soon<Resolved> {
    return when(this.session.services.resolve(sender, address), (resolved) => {
      if ((resolved.flags & RESOLVE_FLAG.fail) !== 0) this.lookupFailure(address);
      return resolved;
    });
  }
}

/** `<k>` of the manual: what a refusal in this frame begins with. */
export const rejected = (frame: { name: string; class: string }): string =>
  `<${frame.name}>: ${frame.class} rejected:`;

const SENDER_DETAIL = new Map([
  ["1", "7"],
  ["2", "8"],
  ["3", "7"],
  ["4", "7"],
  ["5", "0"],
  ["6", "7"],
  ["7", "7"],
  ["8", "8"],
]);
const RECIPIENT_DETAIL = new Map([
  ["1", "1"],
  ["2", "2"],
  ["3", "3"],
  ["4", "4"],
  ["5", "5"],
  ["6", "6"],
  ["7", "3"],
  ["8", "2"],
]);

/** Makes an address status x.1.N (RFC 3463 section 3.2) fit what was refused: a sender, a recipient, or no address at all. */
export function adaptStatus(status: string, replyClass: string): string {
  const [kind, subject, detail] = status.split(".");
  if (subject !== "1" || detail === undefined) return status;
  const digit = detail.replace(/^0+(?=.)/, "");
  let adapted: string;
  if (replyClass === "Sender address") adapted = `${kind}.1.${SENDER_DETAIL.get(digit) ?? "0"}`;
  else if (replyClass === "Recipient address") adapted = `${kind}.1.${RECIPIENT_DETAIL.get(digit) ?? "0"}`;
  else adapted = `${kind}.0.0`;
  if (adapted !== status) info(`mapping DSN status ${status} into ${replyClass} status ${adapted}`);
  return adapted;
}
