/** Delivery into a mailbox file, or by appending to any other file (delivery.md 3.1, 3.3). */
import { asUser, type Identity } from "../privsep/identity.ts";
import { errorCode } from "../sys/errno.ts";
import type { TimeOfDay } from "../sys/process.ts";
import { type CopyOptions, type CopySource, copyMessage, writeErrorDsn } from "./copy.ts";
import {
  appendToMailbox,
  closeMailbox,
  type MailboxOpenOptions,
  type OpenMailbox,
  openMailbox,
} from "./mailbox_lock.ts";
import { outcomeOf } from "./maildir.ts";
import type { Dsn } from "./status.ts";

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

export async function deliverMbox(delivery: MboxDelivery): Promise<MboxOutcome> {
  const { spool, recipient, prefix } = delivery;
  const sameRights = spool.uid === recipient.uid && spool.gid === recipient.gid;
  const result = await openMailbox<MboxOutcome>(delivery.open, (step) =>
    asUser(spool, () => {
      const opened = step();
      // one change of identity for the whole delivery where that will do
      return opened.kind === "open" && sameRights
        ? { kind: "finished", value: writeAndClose(opened.mailbox, delivery) }
        : opened;
    }),
  );
  switch (result.kind) {
    case "finished":
      return result.value;
    case "failed":
      return { kind: "failed", dsn: { ...result.dsn, reason: `${prefix}${result.dsn.reason}` } };
    case "held":
      throw new Error("a lock was waited for and then forgotten");
    case "open": {
      const { mailbox } = result;
      try {
        return asUser(recipient, () => write(mailbox, delivery));
      } finally {
        asUser(spool, () => closeMailbox(mailbox));
      }
    }
  }
}

function writeAndClose(mailbox: OpenMailbox, delivery: MboxDelivery): MboxOutcome {
  try {
    return write(mailbox, delivery);
  } finally {
    closeMailbox(mailbox);
  }
}

function write(mailbox: OpenMailbox, delivery: MboxDelivery): MboxOutcome {
  const { source, options, now, prefix } = delivery;
  const prefixed = (failure: Dsn): MboxOutcome => ({
    kind: "failed",
    dsn: { ...failure, reason: `${prefix}${failure.reason}` },
  });
  const refusal = delivery.inspect?.(mailbox);
  if (refusal !== undefined) return prefixed(refusal);
  try {
    const { result, offset } = appendToMailbox(
      mailbox,
      copyMessage(source, options, now.seconds),
      (end) => end.kind === "complete",
    );
    const outcome = outcomeOf(result);
    switch (outcome.kind) {
      case "delivered":
        return { kind: "delivered", offset };
      case "corrupt":
        return outcome;
      case "failed":
        return prefixed(outcome.dsn);
    }
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return prefixed(writeErrorDsn(error));
  }
}
