/** check_xxx_{a,mx,ns}_access: the servers behind a name (smtpd.md 20.5). */
import { addressOfLiteral, isAddress } from "../../../lib/address/hostname.ts";
import { splitAddress } from "../../../lib/address/split.ts";
import { isNegative } from "../../../lib/dns/types.ts";
import { warning } from "../../../lib/log/log.ts";
import type { Table } from "../../../lib/tables/table.ts";
import { UNKNOWN } from "../client.ts";
import { hostAddresses, hostError } from "./dns.ts";
import type { Evaluation, Frame, Restriction, Verdict } from "./evaluation.ts";
import { tableResult } from "./results.ts";
import { type Found, lookupAddress, lookupName, tableOf } from "./tables.ts";

export type ServerKind = "a" | "mx" | "ns";
const ADDRESS_LIMIT = 100;

interface Target {
  /** The domain or host to look at. */
  readonly domain: string;
  /** What was given: a host, or an address. */
  readonly given: string;
  /** What replies and logs show. */
  readonly name: string;
  readonly class: string;
}

/** Finds what a restriction is about, undefined when it is not known here. */
export type TargetOf = (evaluation: Evaluation) => Promise<Target | undefined>;

export const clientTarget: TargetOf = async ({ session }) =>
  session.client.name === UNKNOWN
    ? undefined
    : {
        domain: session.client.name,
        given: session.client.name,
        name: session.nameAddress,
        class: "Client host",
      };

export const reverseClientTarget: TargetOf = async ({ session }) =>
  session.client.reverseName === UNKNOWN
    ? undefined
    : {
        domain: session.client.reverseName,
        given: session.client.reverseName,
        name: session.client.reverseName,
        class: "Unverified Client host",
      };

export const heloTarget: TargetOf = async ({ subject }) =>
  subject.helo === undefined
    ? undefined
    : { domain: subject.helo, given: subject.helo, name: subject.helo, class: "Helo command" };

const addressTarget = (
  address: string | undefined,
  resolved: string,
  replyClass: string,
): Target | undefined => {
  const { domain } = splitAddress(resolved);
  return address === undefined || domain === undefined
    ? undefined
    : { domain, given: address, name: address, class: replyClass };
};

export const senderTarget: TargetOf = async (evaluation) => {
  const { sender } = evaluation.subject;
  if (sender === undefined || sender === "") return undefined;
  return addressTarget(sender, (await evaluation.resolveSender(sender)).recipient, "Sender address");
};

export const recipientTarget: TargetOf = async (evaluation) => {
  const { recipient } = evaluation.subject;
  if (recipient === undefined) return undefined;
  return addressTarget(
    recipient,
    (await evaluation.resolveRecipient(recipient)).recipient,
    "Recipient address",
  );
};

export const serverAccess =
  (kind: ServerKind, targetOf: TargetOf): Restriction =>
  async (evaluation, frame, argument, name) => {
    const table = tableOf(evaluation, name, argument());
    const target = await targetOf(evaluation);
    if (target === undefined) return "dunno";
    const verdict = await checkServers(evaluation, kind, table, target, frame, name);
    if (verdict !== "permit") return verdict;
    warning(`restriction ${name} returns OK for ${target.name}`);
    warning("this is not allowed for security reasons");
    warning("use DUNNO instead of OK if you want to make an exception");
    return evaluation.serverError();
  };

async function checkServers(
  evaluation: Evaluation,
  kind: ServerKind,
  table: Table,
  target: Target,
  outer: Frame,
  check: string,
): Promise<Verdict> {
  const frame: Frame = { name: target.name, class: target.class, tableCheck: outer.tableCheck };
  const use = (found: Found, subject: string): Promise<Verdict> =>
    found.kind === "absent"
      ? Promise.resolve("dunno")
      : tableResult(evaluation, { table, frame, check, subject }, found.value);
  const literal =
    addressOfLiteral(target.domain) ??
    (kind !== "ns" && isAddress(target.domain) ? target.domain : undefined);
  if (literal !== undefined)
    return kind === "ns" ? "dunno" : use(await lookupAddress(table, literal), literal);
  if (target.domain.startsWith("[")) return "dunno";
  const hosts = await serversOf(evaluation, kind, target);
  let addresses = 0;
  for (const host of hosts) {
    if (kind !== "a") {
      const verdict = await use(await lookupName(evaluation, table, host), host);
      if (verdict !== "dunno" || evaluation.actions?.discard === true) return verdict;
    }
    const found = await addressesOf(evaluation, host);
    if (typeof found === "string") {
      if (kind !== "a")
        warning(
          `Unable to look up ${kind.toUpperCase()} host ${host} for ${target.class} ${target.name}: ${found}`,
        );
      continue;
    }
    for (const address of found) {
      if (++addresses > ADDRESS_LIMIT) {
        warning(`${check}: skipping server addresses for ${target.name}: more than ${ADDRESS_LIMIT}`);
        return "dunno";
      }
      const verdict = await use(await lookupAddress(table, address), address);
      if (verdict !== "dunno") return verdict;
    }
  }
  return "dunno";
}

/** The host names to look at, in the order of the answer. */
async function serversOf(evaluation: Evaluation, kind: ServerKind, target: Target): Promise<string[]> {
  if (kind === "a") return [target.domain];
  const { lookup } = evaluation.session.services;
  if (kind === "mx") {
    const answer = await lookup(target.domain, "MX");
    if (answer.status === "found")
      return answer.records.flatMap((record) => (record.type === "MX" ? [record.host] : []));
    if (isNegative(answer.status)) return [target.domain];
    if (answer.status !== "null-mx")
      warning(`Unable to look up MX host for ${target.domain}: ${hostError(answer.status)}`);
    return [];
  }
  let domain = target.domain;
  for (;;) {
    const answer = await lookup(domain, "NS");
    if (answer.status === "found")
      return answer.records.flatMap((record) => (record.type === "NS" ? [record.host] : []));
    if (!isNegative(answer.status)) {
      warning(`Unable to look up NS host for ${target.domain}: ${hostError(answer.status)}`);
      return [];
    }
    const dot = domain.indexOf(".");
    if (dot < 0) {
      warning(`Unable to look up NS host for ${target.given}: ${hostError(answer.status)}`);
      return [];
    }
    domain = domain.slice(dot + 1);
  }
}

/** The addresses of a host, or the reason why there are none. */
async function addressesOf(evaluation: Evaluation, host: string): Promise<string[] | string> {
  const found = await hostAddresses(evaluation, host);
  return found.status === "error" ? found.text : found.addresses.map(({ address }) => address);
}
