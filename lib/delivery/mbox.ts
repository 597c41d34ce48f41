/** Delivery into a mailbox file, or by appending to any other file (delivery.md 3.1, 3.3). */
import { asUser, type Identity } from "../privsep/identity.ts";
import type { TimeOfDay } from "../sys/process.ts";
import { type CopyEnd, type CopyOptions, type CopySource, copyMessage } from "./copy.ts";
import {
  type Appended,
  appendToMailbox,
  closeMailbox,
  type MailboxOpenOptions,
  type OpenMailbox,
  openMailbox,
  syncMailbox,
} from "./mailbox_lock.ts";
import { outcomeOf, writeFailure } from "./maildir.ts";
import type { Dsn } from "./status.ts";
import { inTurn } from "./turns.ts";

export interface MboxDelivery {
  readonly source: CopySource;
  readonly options: CopyOptions;
  readonly open: MailboxOpenOptions;
  /** Rights for opening, creating and locking. */
  readonly spool: Identity;
  /** Rights for writing: a quota is the recipient's. */
  readonly recipient: Identity;
  /** Last look at the open file; a DSN refuses it. */
  readonly inspect?: (mailbox: OpenMailbox) => Dsn | undefined;
  /** Put before the reason of a failure, `cannot update mailbox P for user U. `. */
  readonly prefix: string;
  readonly now: TimeOfDay;
}

export type MboxOutcome =
  | { readonly kind: "delivered" /** Size before the delivery. */; readonly offset: number }
  | { readonly kind: "failed"; readonly dsn: Dsn }
  | { readonly kind: "corrupt"; readonly recordType: number };

export function deliverMbox(delivery: MboxDelivery): Promise<MboxOutcome> {
  return inTurn(delivery.open.path, () => deliver(delivery));
}

/** An open mailbox that has the message, or what became of the delivery instead. */
type Written =
  | { readonly kind: "written"; readonly appended: Appended<CopyEnd> }
  | { readonly kind: "ended"; readonly outcome: MboxOutcome };

async function deliver(delivery: MboxDelivery): Promise<MboxOutcome> {
  const { spool, recipient, prefix } = delivery;
  const sameRights = spool.uid === recipient.uid && spool.gid === recipient.gid;
  let written: Written | undefined;
  const opened = await openMailbox(delivery.open, (step) =>
    asUser(spool, () => {
      const result = step();
      // one change of identity for both where that will do
      if (result.kind === "open" && sameRights) written = write(result.mailbox, delivery);
      return result;
    }),
  );
  switch (opened.kind) {
    case "failed":
      return { kind: "failed", dsn: { ...opened.dsn, reason: `${prefix}${opened.dsn.reason}` } };
    case "held":
      throw new Error("a lock was waited for and then forgotten");
    case "open": {
      const { mailbox } = opened;
      try {
        written ??= asUser(recipient, () => write(mailbox, delivery));
        return written.kind === "ended" ? written.outcome : await sync(mailbox, written.appended, delivery);
      } finally {
        asUser(spool, () => closeMailbox(mailbox));
      }
    }
  }
}

function write(mailbox: OpenMailbox, delivery: MboxDelivery): Written {
  const { source, options, now } = delivery;
  const ended = (outcome: MboxOutcome): Written => ({ kind: "ended", outcome });
  const refusal = delivery.inspect?.(mailbox);
  if (refusal !== undefined) return ended(failed(refusal, delivery));
  try {
    const appended = appendToMailbox(
      mailbox,
      copyMessage(source, options, now.seconds),
      (end) => end.kind === "complete",
    );
    const outcome = outcomeOf(appended.result);
    switch (outcome.kind) {
      case "delivered":
        return { kind: "written", appended };
      case "corrupt":
        return ended(outcome);
      case "failed":
        return ended(failed(outcome.dsn, delivery));
    }
  } catch (error) {
    return ended(failed(writeFailure(error).dsn, delivery));
  }
}

async function sync(
  mailbox: OpenMailbox,
  { offset, takeBack }: Appended<CopyEnd>,
  delivery: MboxDelivery,
): Promise<MboxOutcome> {
  try {
    await syncMailbox(mailbox);
    return { kind: "delivered", offset };
  } catch (error) {
    takeBack();
    return failed(writeFailure(error).dsn, delivery);
  }
}

const failed = (failure: Dsn, { prefix }: MboxDelivery): MboxOutcome => ({
  kind: "failed",
  dsn: { ...failure, reason: `${prefix}${failure.reason}` },
});
