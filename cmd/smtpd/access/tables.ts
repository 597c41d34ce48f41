/** access(5) tables: which keys are looked up, in which order (smtpd.md 20.5). */
import { internalToExternal } from "../../../lib/address/quote.ts";
import { extensionRules, splitAddress, splitExtension } from "../../../lib/address/split.ts";
import { warning } from "../../../lib/log/log.ts";
import type { Table } from "../../../lib/tables/table.ts";
import type { Evaluation, Frame, Verdict } from "./evaluation.ts";
import { tableResult } from "./results.ts";

export type Found = { readonly kind: "found"; readonly value: string } | { readonly kind: "absent" };

const TABLE_ERROR = "451 4.3.5 Server configuration error";

/** Looks one key up; trouble acts as a result of its own. `derived` keys are for tables with fixed keys only. */
async function lookupKey(table: Table, key: string, derived: boolean): Promise<Found> {
  if (key === "" || (derived && !table.fixed)) return { kind: "absent" };
  const result = await table.lookup(key);
  if (result.kind !== "error") return result;
  warning(`${table.name} lookup error for "${key}"`);
  return { kind: "found", value: TABLE_ERROR };
}

async function firstOf(table: Table, keys: readonly string[]): Promise<Found> {
  for (let i = 0; i < keys.length; i++) {
    const found = await lookupKey(table, keys[i] as string, i > 0);
    if (found.kind === "found") return found;
  }
  return { kind: "absent" };
}

const NUMERIC_NAME = /^[0-9.:]+$|^[0-9a-fA-F]*:[0-9a-fA-F:.]*$/;

/** The name and its parent domains. */
export function nameKeys(name: string, parentMode: boolean): string[] {
  const keys = [name];
  if (NUMERIC_NAME.test(name)) return keys;
  for (let dot = name.indexOf(".", 1); dot >= 0 && dot < name.length - 1; dot = name.indexOf(".", dot + 1))
    keys.push(name.slice(parentMode ? dot + 1 : dot));
  return keys;
}

/** The address and the networks that its text begins with. */
export function addressKeys(address: string): string[] {
  const keys = [address];
  const separator = address.includes(":") ? ":" : ".";
  for (let cut = address.lastIndexOf(separator); cut > 0; cut = address.lastIndexOf(separator, cut - 1))
    keys.push(address.slice(0, cut));
  return keys;
}

export const lookupName = (evaluation: Evaluation, table: Table, name: string): Promise<Found> =>
  firstOf(table, nameKeys(name, evaluation.policy.accessParentMode));
export const lookupAddress = (table: Table, address: string): Promise<Found> =>
  firstOf(table, addressKeys(address));

/** Keys of a mail address: whole, without extension, domain and parents, local parts with `@`; each in external, then internal form. */
async function lookupMailAddress(evaluation: Evaluation, table: Table, address: string): Promise<Found> {
  const { local, domain } = splitAddress(address);
  const split = splitExtension(local, extensionRules());
  const both = async (internal: string, derived: boolean): Promise<Found> => {
    const external = internalToExternal(internal);
    const found = await lookupKey(table, external, derived);
    return found.kind === "found" || external === internal ? found : lookupKey(table, internal, derived);
  };
  let found = await both(address, false);
  if (found.kind === "found" || !table.fixed) return found;
  const bare = split === undefined || domain === undefined ? undefined : `${split.user}@${domain}`;
  if (bare !== undefined) found = await both(bare, true);
  if (found.kind === "found") return found;
  if (domain !== undefined)
    for (const key of nameKeys(domain, evaluation.policy.accessParentMode)) {
      found = await lookupKey(table, key, true);
      if (found.kind === "found") return found;
    }
  found = await both(`${local}@`, true);
  if (found.kind === "found" || split === undefined) return found;
  return both(`${split.user}@`, true);
}

/** The table named by a word of a restriction list; without `type:name` the configuration is wrong. */
export function tableOf(evaluation: Evaluation, check: string, word: string | undefined): Table {
  const table = word === undefined ? undefined : evaluation.policy.accessTables.get(word);
  if (table !== undefined) return table;
  warning(`restriction ${check}: bad argument "${word ?? check}": need maptype:mapname`);
  return evaluation.serverError();
}

/** The basic check_xxx_access restrictions. */
export async function checkTable(
  evaluation: Evaluation,
  check: string,
  word: string | undefined,
  frame: Frame,
): Promise<Verdict> {
  const table = tableOf(evaluation, check, word);
  const { session, subject } = evaluation;
  const { client } = session;
  const use = async (found: Found, name: string, replyClass: string, asked: string): Promise<Verdict> => {
    if (found.kind === "absent") return "dunno";
    const own: Frame = { name, class: replyClass, tableCheck: frame.tableCheck };
    return tableResult(evaluation, { table, frame: own, check, subject: asked }, found.value);
  };
  switch (check) {
    case "check_client_access": {
      let found = await lookupName(evaluation, table, client.name);
      if (found.kind === "absent") found = await lookupAddress(table, client.address);
      return use(found, session.nameAddress, "Client host", client.name);
    }
    case "check_reverse_client_hostname_access":
      return use(
        await lookupName(evaluation, table, client.reverseName),
        client.reverseName,
        "Unverified Client host",
        client.reverseName,
      );
    case "check_helo_access": {
      const { helo } = subject;
      return helo === undefined
        ? "dunno"
        : use(await lookupName(evaluation, table, helo), helo, "Helo command", helo);
    }
    case "check_etrn_access": {
      const domain = subject.etrnDomain;
      return domain === undefined
        ? "dunno"
        : use(await lookupName(evaluation, table, domain), domain, "Etrn command", domain);
    }
    case "check_sender_access": {
      const { sender } = subject;
      if (sender === undefined) return "dunno";
      if (sender === "")
        return use(
          await lookupKey(table, evaluation.settings.nullAccessKey, false),
          "",
          "Sender address",
          sender,
        );
      const resolved = await evaluation.resolveSender(sender);
      return use(
        await lookupMailAddress(evaluation, table, resolved.recipient),
        sender,
        "Sender address",
        sender,
      );
    }
    case "check_recipient_access": {
      const { recipient } = subject;
      if (recipient === undefined) return "dunno";
      const resolved = await evaluation.resolveRecipient(recipient);
      const verdict = await use(
        await lookupMailAddress(evaluation, table, resolved.recipient),
        recipient,
        "Recipient address",
        recipient,
      );
      // A recipient with a route of its own is not accepted because its outermost form is listed.
      const routed = (resolved.flags & 2) !== 0 && !evaluation.settings.untrustedRouting;
      return verdict === "permit" && routed ? "dunno" : verdict;
    }
    default:
      return evaluation.serverError();
  }
}
