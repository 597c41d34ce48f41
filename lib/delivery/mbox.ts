/** Delivery into a mailbox file, or by appending to any other file (delivery.md 3.1, 3.3). */
import { errorCode } from "../sys/errno.ts";
import type { TimeOfDay } from "../sys/process.ts";
import { type CopyOptions, type CopySource, copyMessage, writeErrorDsn } from "./copy.ts";
import { appendToMailbox, closeMailbox, type MailboxOpenOptions, type OpenMailbox, openMailbox } from "./mailbox_lock.ts";
import { type MailboxOutcome, outcomeOf } from "./maildir.ts";
import type { Dsn } from "./status.ts";

/** Runs a synchronous step with somebody's rights. */
export type Act = <T>(step: () => T) => T;

export interface MboxDelivery {
  readonly source: CopySource;
  readonly options: CopyOptions;
  readonly open: MailboxOpenOptions;
  /** Rights for opening and locking. */
  readonly openAs: Act;
  /** Rights for writing: a quota is the recipient's. */
  readonly writeAs: Act;
  /** Last look at the open file; a DSN refuses it. Its reason is final. */
  readonly inspect?: (mailbox: OpenMailbox) => Dsn | undefined;
  /** Put before the reason of a failure, `cannot update mailbox P for user U. `. */
  readonly prefix: string;
  readonly now: TimeOfDay;
}

export type MboxOutcome =
  | { readonly kind: "delivered"; /** Size before the delivery. */ readonly offset: number }
  | { readonly kind: "failed"; readonly dsn: Dsn }
  | { readonly kind: "corrupt"; readonly recordType: number };

export async function deliverMbox(delivery: MboxDelivery): Promise<MboxOutcome> {
  const prefixed = (failure: Dsn): MboxOutcome => ({
    kind: "failed",
    dsn: { ...failure, reason: `${delivery.prefix}${failure.reason}` },
  });
  const opened = await openMailbox(delivery.open, delivery.openAs);
  if (!opened.ok) return prefixed(opened.dsn);
  const { mailbox } = opened;
  try {
    const refusal = delivery.inspect?.(mailbox);
    if (refusal !== undefined) return { kind: "failed", dsn: refusal };
    const { outcome, offset } = delivery.writeAs(() => write(mailbox, delivery));
    switch (outcome.kind) {
      case "delivered":
        return { kind: "delivered", offset };
      case "corrupt":
        return outcome;
      case "failed":
        return prefixed(outcome.dsn);
    }
  } finally {
    closeMailbox(mailbox, delivery.openAs);
  }
}

function write(mailbox: OpenMailbox, delivery: MboxDelivery): { outcome: MailboxOutcome; offset: number } {
  const { source, options, now } = delivery;
  try {
    const { result, offset } = appendToMailbox(mailbox, copyMessage(source, options, now.seconds), (end) => end.kind === "complete");
    return { outcome: outcomeOf(result), offset };
  } catch (error) {
    const code = errorCode(error);
    if (code === undefined) throw error;
    return { outcome: { kind: "failed", dsn: writeErrorDsn(error), code }, offset: 0 };
  }
}
