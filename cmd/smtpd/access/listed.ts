/** Does the address exist here: reject_unlisted_recipient and reject_unlisted_sender (smtpd.md 20.6, local_recipient_maps and its kin). */
import { addressOfLiteral } from "../../../lib/address/hostname.ts";
import { type LookupRules, lookupAddress } from "../../../lib/address/lookup.ts";
import { extensionRules, splitAddress } from "../../../lib/address/split.ts";
import { usesLegacyDefault } from "../../../lib/config/compatibility.ts";
import { configuration, parameter } from "../../../lib/config/configuration.ts";
import { RESOLVE_FLAG } from "../../../lib/ipc/protocols/rewrite.ts";
import { splitStatus } from "../../../lib/smtp/dsn.ts";
import { equalFold } from "../../../lib/sys/bytes.ts";
import { type Soon, when } from "../../../lib/sys/when.ts";
import type { TableList } from "../../../lib/tables/list.ts";
import type { Policy } from "../policy.ts";
import type { Resolved } from "../services.ts";
import { noteRelay } from "./destination.ts";
import { adaptStatus, type Evaluation, type Restriction, rejected, type Verdict } from "./evaluation.ts";

const rules = new WeakMap<Policy, LookupRules>();

/** How local parts and extensions are looked up; one for all sessions. */
function lookupRules(policy: Policy): LookupRules {
  let known = rules.get(policy);
  if (known === undefined) {
    known = {
      ...extensionRules(),
      myorigin: parameter("myorigin"),
      async isLocalDomain(domain) {
        const name = domain.endsWith(".") ? domain.slice(0, -1) : domain;
        if (await policy.mydestination.matchesOrFatal(name)) return true;
        const literal = addressOfLiteral(name);
        return literal !== undefined && policy.ownAddresses.has(literal);
      },
    };
    rules.set(policy, known);
  }
  return known;
}

/** True when the tables know the address. */
function knows(
  evaluation: Evaluation,
  tables: TableList,
  resolved: string,
  shown: string,
): boolean | Promise<boolean> {
  return tables.empty ? false : asksFor(evaluation, tables, resolved, shown);
}

async function asksFor(
  evaluation: Evaluation,
  tables: TableList,
  resolved: string,
  shown: string,
): Promise<boolean> {
  const result = await lookupAddress(tables, resolved, lookupRules(evaluation.policy), "both");
  if (result.kind !== "error") return result.kind === "found";
  return result.error === "retry" ? evaluation.lookupFailure(shown) : evaluation.serverError();
}

/** For so long an address that was found is taken to exist still: under load most recipients are the same few. */
const KNOWN_MILLISECONDS = 5_000;
const KNOWN_LIMIT = 1_000;
const found = new WeakMap<Policy, Map<string, number>>();

function wasFound(policy: Policy, key: string): boolean {
  const expires = found.get(policy)?.get(key);
  return expires !== undefined && performance.now() < expires;
}

function rememberFound(policy: Policy, key: string): void {
  let known = found.get(policy);
  if (known === undefined) {
    known = new Map();
    found.set(policy, known);
  }
  if (known.size >= KNOWN_LIMIT) known.clear();
  known.set(key, performance.now() + KNOWN_MILLISECONDS);
}

interface Side {
  readonly class: "Recipient address" | "Sender address";
  readonly dsn: string;
  readonly sender: boolean;
}

const RECIPIENT: Side = { class: "Recipient address", dsn: "5.1.1", sender: false };
const SENDER: Side = { class: "Sender address", dsn: "5.1.0", sender: true };

async function lookUpListed(
  evaluation: Evaluation,
  address: string,
  resolved: Resolved,
  side: Side,
): Promise<Verdict> {
  const { policy, settings } = evaluation;
  const { flags, recipient, transport, nexthop } = resolved;
  const listedIn = (tables: TableList): boolean | Promise<boolean> =>
    knows(evaluation, tables, recipient, address);
  if (await listedIn(policy.recipientCanonicalMaps)) return "dunno";
  if (side.sender && (await listedIn(policy.senderCanonicalMaps))) return "dunno";
  if (await listedIn(policy.canonicalMaps)) return "dunno";
  if (await listedIn(policy.virtualAliasMaps)) return "dunno";
  const refuse = (code: number, status: string, text: string): Verdict =>
    evaluation.reject("bounce", code, status, `${rejected({ name: address, class: side.class })} ${text}`);
  if (transport === "error" || transport === "retry") {
    const permanent = transport === "error";
    const fallback = permanent ? side.dsn : `4${side.dsn.slice(1)}`;
    const { status, text } = splitStatus(nexthop, fallback);
    const code = permanent
      ? (flags & RESOLVE_FLAG.virtualAlias) !== 0
        ? settings.codes.virtualAlias
        : 550
      : 450;
    return refuse(code, adaptStatus(status, side.class), text);
  }
  const unknown = (code: number, table: string): Verdict =>
    refuse(code, side.dsn, `User unknown${settings.showUnknownTable ? ` in ${table} table` : ""}`);
  if ((flags & RESOLVE_FLAG.local) !== 0) {
    if (policy.localRecipientMaps.empty || isReserved(recipient, settings.doubleBounceSender)) return "dunno";
    return (await listedIn(policy.localRecipientMaps))
      ? "dunno"
      : unknown(settings.codes.localRecipient, "local recipient");
  }
  if ((flags & RESOLVE_FLAG.virtualMailbox) !== 0) {
    if (policy.virtualMailboxMaps.empty) return "dunno";
    return (await listedIn(policy.virtualMailboxMaps))
      ? "dunno"
      : unknown(settings.codes.virtualMailbox, "virtual mailbox");
  }
  if ((flags & RESOLVE_FLAG.relay) !== 0) {
    if (!policy.relayRecipientMaps.empty && !(await listedIn(policy.relayRecipientMaps)))
      return unknown(settings.codes.relayRecipient, "relay recipient");
    noteRelay(`address "${address}"`);
  }
  return "dunno";
}

function checkListed(evaluation: Evaluation, address: string, resolved: Resolved, side: Side): Soon<Verdict> {
  const { policy, settings } = evaluation;
  if (settings.overrides.has("no_unknown_recipient_checks")) return "dunno";
  const key = `${side.class}\n${resolved.flags}\n${resolved.transport}\n${resolved.recipient}`;
  if (wasFound(policy, key)) return "dunno";
  const refused = evaluation.rejections;
  return when(lookUpListed(evaluation, address, resolved, side), (verdict) => {
    // what noteRelay() says, it says each time
    const noted =
      (resolved.flags & RESOLVE_FLAG.relay) !== 0 && usesLegacyDefault(configuration(), "relay_domains");
    if (verdict === "dunno" && evaluation.rejections === refused && !noted) rememberFound(policy, key);
    return verdict;
  });
}

/** Addresses that exist on every system. */
function isReserved(recipient: string, doubleBounce: string): boolean {
  const { local } = splitAddress(recipient);
  return (
    equalFold(local, "postmaster") || equalFold(local, "mailer-daemon") || equalFold(local, doubleBounce)
  );
}

export const rejectUnlistedRecipient: Restriction = (evaluation) => {
  const { recipient } = evaluation.subject;
  if (recipient === undefined || evaluation.recipientListed) return "dunno";
  evaluation.recipientListed = true;
  return when(evaluation.resolveRecipient(recipient), (resolved) =>
    checkListed(evaluation, recipient, resolved, RECIPIENT),
  );
};

export const rejectUnlistedSender: Restriction = (evaluation) => {
  const { sender } = evaluation.subject;
  if (sender === undefined || sender === "" || evaluation.senderListed) return "dunno";
  evaluation.senderListed = true;
  return when(evaluation.resolveSender(sender), (resolved) =>
    checkListed(evaluation, sender, resolved, SENDER),
  );
};
