/** Aliases (delivery.md 4.2): undefined when the name has none. */
import { parameter } from "../../lib/config/configuration.ts";
import { type Disposition, traceExpansion } from "../../lib/delivery/disposition.ts";
import { dsn } from "../../lib/delivery/status.ts";
import { DELIVERY_FLAG, NOTIFY } from "../../lib/ipc/protocols/delivery.ts";
import { warning } from "../../lib/log/log.ts";
import { equalFold } from "../../lib/sys/bytes.ts";
import { lookupUserById, type User } from "../../lib/sys/identity.ts";
import { flagNames, type Table, TableFlag } from "../../lib/tables/table.ts";
import { canonical, lookupAlias } from "./owner.ts";
import { attemptOf, bounce, defer, nested, type State, sentTo, tooDeep, withoutSuccess } from "./state.ts";

const UNAVAILABLE = dsn("4.3.0", "alias database unavailable");

export async function deliverAlias(outer: State, name: string): Promise<Disposition | undefined> {
  if (outer.session.settings.aliases.empty) return undefined;
  // a name that appears in its own expansion is the user
  if (outer.expandedFrom !== undefined && equalFold(outer.expandedFrom, name)) return undefined;
  const found = await lookupAlias(outer.session.settings, name);
  if (found.kind === "absent") return undefined;
  if (found.kind === "error") return defer(outer, UNAVAILABLE);
  const state = nested(outer);
  if (tooDeep(state)) {
    warning(`alias database loop for ${name}`);
    return bounce(state, dsn("5.4.6", `alias database loop for ${name}`));
  }
  if ((state.session.request.flags & DELIVERY_FLAG.mtaVerify) !== 0)
    return sentTo(state, dsn("2.0.0", `aliased to ${found.value}`));
  const rights = await rightsOf(found.table);
  if (!rights.ok) return defer(state, dsn("4.3.0", rights.reason));
  return expand({ ...state, rights: rights.user }, name, found.value);
}

type Rights =
  | { readonly ok: true; readonly user: User | undefined }
  | { readonly ok: false; readonly reason: string };

/** Bits that say what a table turned out to be, not how it was asked for. */
const DERIVED = TableFlag.fixed | TableFlag.pattern | TableFlag.utf8_active;

/** Commands and files of an alias get the rights of whoever could have written the table. */
async function rightsOf(table: Table): Promise<Rights> {
  const { owner } = table;
  switch (owner.status) {
    case "trusted":
      return { ok: true, user: undefined };
    case "unknown":
      warning(`deliver_alias: no owner UID for alias database ${table.name}`);
      return { ok: false, reason: "mail system configuration error" };
    case "untrusted": {
      const user = lookupUserById(owner.uid);
      if (user !== undefined) return { ok: true, user };
      warning(`cannot find alias database owner for ${table.name}(0,${flagNames(table.flags & ~DERIVED)})`);
      return { ok: false, reason: "cannot find alias database owner" };
    }
  }
}

async function expand(state: State, name: string, value: string): Promise<Disposition> {
  const { session, recipient } = state;
  let expansion: State = {
    ...state,
    origin: "alias",
    expandedFrom: name,
    recipient: withoutSuccess(recipient),
    delivered: parameter("frozen_delivered_to") ? state.delivered : recipient.recipient,
  };
  let owned = false;
  if (parameter("owner_request_special")) {
    const owner = await lookupAlias(session.settings, `owner-${name}`);
    if (owner.kind === "error") return defer(state, UNAVAILABLE);
    if (owner.kind === "found") {
      owned = true;
      expansion = withOwner(
        expansion,
        await canonical(parameter("expand_owner_alias") ? owner.value : `owner-${name}`),
      );
    } else if (parameter("reset_owner_alias")) expansion = { ...expansion, owner: undefined };
  }
  const { outcomes } = session;
  const { disposition, count } = await session.deliverItems(expansion, value);
  if (count === 0) {
    warning(`no recipient in alias lookup result for ${name}`);
    return defer(state, UNAVAILABLE);
  }
  if ((recipient.notifyFlags & NOTIFY.success) !== 0 && session.outcomes > outcomes) {
    const report = dsn("2.0.0", "alias expanded", { action: owned ? "delivered" : "expanded" });
    if (!(await traceExpansion(attemptOf(state), report)))
      return defer(state, dsn("4.3.0", `${session.request.queueId}: trace service failed`));
  }
  return disposition;
}

/** The members of a list are the owner's business: what the sender asked to be told is dropped. */
const withOwner = (state: State, owner: string): State => ({
  ...state,
  sender: owner,
  owner,
  envelopeId: "",
  retFlags: 0,
  recipient: { ...state.recipient, originalRecipient: "", dsnOriginalRecipient: "" },
});
