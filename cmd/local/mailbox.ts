/** Mailbox delivery (delivery.md 4.6): undefined when there is no such user. */

import { parameter } from "../../lib/config/configuration.ts";
import { MBOX } from "../../lib/delivery/copy.ts";
import type { Disposition } from "../../lib/delivery/disposition.ts";
import type { OpenMailbox } from "../../lib/delivery/mailbox_lock.ts";
import { deliverMbox } from "../../lib/delivery/mbox.ts";
import { passToTransport } from "../../lib/delivery/pass.ts";
import { markCorrupt } from "../../lib/delivery/request.ts";
import { type Dsn, dsn, isTraceOnly } from "../../lib/delivery/status.ts";
import { warning } from "../../lib/log/log.ts";
import type { Identity } from "../../lib/privsep/identity.ts";
import { pathOf } from "../../lib/sys/bytes.ts";
import { errorCode } from "../../lib/sys/errno.ts";
import { type Stats, statSync } from "../../lib/sys/fs.ts";
import { effectiveGid, effectiveUid, type User } from "../../lib/sys/identity.ts";
import { notifyBiff } from "./biff.ts";
import { deliverCommandAs } from "./command.ts";
import { deliverToMaildir } from "./maildir.ts";
import type { DemandedTables } from "./settings.ts";
import { attemptOf, copySource, defer, fail, type State, sentTo } from "./state.ts";
import { findUser } from "./user.ts";

const LOOKUP_FAILURE = dsn("4.3.0", "table lookup failure");

/** A transport or command for a user by table, then by parameter. */
export async function choose(
  table: DemandedTables,
  user: string,
  otherwise: string,
): Promise<string | "error" | undefined> {
  const found = await table.lookup(user);
  if (found.kind === "error") return "error";
  if (found.kind === "found") return found.value;
  return otherwise === "" ? undefined : otherwise;
}

/** Hands the recipient over to another transport. */
export function pass(state: State, transport: string): Promise<Disposition> {
  state.session.outcomes++;
  return passToTransport(
    {
      ...state.session.request,
      sender: state.sender,
      envelopeId: state.envelopeId,
      retFlags: state.retFlags,
    },
    state.recipient,
    transport,
    attemptOf(state),
  );
}

export async function deliverMailbox(state: State): Promise<Disposition | undefined> {
  const { session, user: name } = state;
  const { settings } = session;
  if (session.duplicates.seen(`mailbox ${state.local}`)) return "finished";
  const transport = await choose(settings.mailboxTransports, name, parameter("mailbox_transport"));
  if (transport === "error") return defer(state, LOOKUP_FAILURE);
  if (transport !== undefined) return pass(state, transport);
  const found = findUser(state.session.users, name);
  if (found.kind === "error") return defer(state, dsn("4.0.0", "user lookup error"));
  if (found.kind === "absent") return undefined;
  const { user } = found;
  const command = await choose(settings.mailboxCommands, name, parameter("mailbox_command"));
  if (command === "error") return defer(state, LOOKUP_FAILURE);
  if (command !== undefined) return deliverCommandAs(state, command, user);
  const homeMailbox = parameter("home_mailbox");
  const spool = parameter("mail_spool_directory");
  if (homeMailbox.endsWith("/")) return maildir(state, `${user.home}/${homeMailbox}`, user);
  if (spool.endsWith("/") && homeMailbox === "") return maildir(state, `${spool}${user.name}/`, user);
  return homeMailbox === ""
    ? mbox(state, `${spool}/${user.name}`, user, spool)
    : mbox(state, `${user.home}/${homeMailbox}`, user, undefined);
}

async function maildir(state: State, directory: string, user: User): Promise<Disposition> {
  if (isTraceOnly(state.session.request.flags)) return sentTo(state, dsn("2.0.0", "delivers to maildir"));
  return deliverToMaildir(state, directory, user, "delivered to maildir");
}

interface SpoolRights {
  readonly identity: Identity;
  /** Owner of a mailbox that root creates. */
  readonly owner: Identity | undefined;
}

/** With whose rights a mailbox file is opened, locked and created. `spool` is undefined below a home directory. */
function spoolRights(spool: string | undefined, user: User): SpoolRights {
  const own: SpoolRights = { identity: { uid: user.uid, gid: user.gid }, owner: undefined };
  if (spool === undefined || effectiveUid() !== 0) return own;
  let stat: Stats;
  try {
    stat = statSync(pathOf(spool));
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return own;
  }
  if ((stat.mode & 0o002) !== 0) return own;
  if ((stat.mode & 0o020) !== 0) return { identity: { uid: user.uid, gid: stat.gid }, owner: undefined };
  return { identity: { uid: 0, gid: effectiveGid() }, owner: user };
}

async function mbox(state: State, path: string, user: User, spool: string | undefined): Promise<Disposition> {
  const { session } = state;
  const { settings, request } = session;
  if (isTraceOnly(request.flags)) return sentTo(state, dsn("2.0.0", "delivers to mailbox"));
  const { identity, owner } = spoolRights(spool, user);
  const outcome = await deliverMbox({
    source: copySource(state, parameter("enable_original_recipient")),
    options: { ...MBOX, deliveredTo: settings.prependDelivered.has("file") },
    open: {
      path,
      locks: settings.locks,
      dotlockOptional: false,
      defaultStatus: "5.2.0",
      attempts: parameter("deliver_lock_attempts"),
      delay: parameter("deliver_lock_delay"),
      staleTime: parameter("stale_lock_time"),
      ...(owner === undefined ? {} : { owner }),
    },
    spool: identity,
    recipient: { uid: user.uid, gid: user.gid },
    inspect: (mailbox) => refusal(mailbox, path, user),
    prefix: `cannot update mailbox ${path} for user ${user.name}. `,
    now: session.startTime,
  });
  switch (outcome.kind) {
    case "delivered":
      if (parameter("biff")) notifyBiff(`${user.name}@${outcome.offset}`);
      return sentTo(state, dsn("2.0.0", "delivered to mailbox"));
    case "corrupt":
      markCorrupt(request, outcome.recordType);
      session.outcomes++;
      return "retry";
    case "failed":
      return fail(state, outcome.dsn);
  }
}

function refusal(mailbox: OpenMailbox, path: string, user: User): Dsn | undefined {
  if (!mailbox.stat.isFile()) return dsn("5.2.0", `destination ${path} is not a regular file`);
  if (mailbox.stat.uid === user.uid || !parameter("strict_mailbox_ownership")) return undefined;
  warning('specify "strict_mailbox_ownership = no" to ignore mailbox ownership mismatch');
  return dsn("4.2.0", `destination ${path} is not owned by recipient`);
}
