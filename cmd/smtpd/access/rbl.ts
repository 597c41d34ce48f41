/** DNS block and allow lists: RFC 5782; the rules of smtpd.md 20.8. */
import { toAsciiDomain } from "../../../lib/address/hostname.ts";
import { splitAddress } from "../../../lib/address/split.ts";
import { parseInet } from "../../../lib/config/inet.ts";
import { isNegative } from "../../../lib/dns/types.ts";
import { warning } from "../../../lib/log/log.ts";
import { splitStatus } from "../../../lib/smtp/dsn.ts";
import { isReplyWithCode } from "../../../lib/smtp/reply.ts";
import { UNKNOWN } from "../client.ts";
import type { SessionServices } from "../services.ts";
import { authorizedDestination } from "./destination.ts";
import { adaptStatus, type Evaluation, type Restriction, type Verdict } from "./evaluation.ts";
import { parsePattern } from "./rbl_pattern.ts";

interface Listing {
  readonly addresses: readonly string[];
  /** Text of the list about the entry; empty without one. */
  readonly reason: string;
}

type Answer = Listing | "absent" | "failed";

const REASON_LIMIT = 500;
const CACHE_LIMIT = 1000;
const CACHE_MILLISECONDS = 60_000;

/** Answers are kept for a while, for each set of services (one in a process). */
const caches = new WeakMap<SessionServices, Map<string, { answer: Promise<Answer>; expires: number }>>();

function ask(evaluation: Evaluation, query: string): Promise<Answer> {
  const { services } = evaluation.session;
  let cache = caches.get(services);
  if (cache === undefined) {
    cache = new Map();
    caches.set(services, cache);
  }
  const now = performance.now();
  const known = cache.get(query);
  if (known !== undefined && known.expires > now) return known.answer;
  if (cache.size >= CACHE_LIMIT) cache.clear();
  const answer = lookUp(services, query);
  cache.set(query, { answer, expires: now + CACHE_MILLISECONDS });
  return answer;
}

async function lookUp(services: SessionServices, query: string): Promise<Answer> {
  const result = await services.lookup(query, "A");
  if (result.status !== "found") {
    if (isNegative(result.status)) return "absent";
    warning(`${query}: RBL lookup error: ${result.reason}`);
    return "failed";
  }
  const addresses = result.records.flatMap((record) => (record.type === "A" ? [record.address] : []));
  const texts = await services.lookup(query, "TXT");
  const reason =
    texts.status === "found"
      ? texts.records
          .flatMap((record) => (record.type === "TXT" ? [record.text] : []))
          .join(" / ")
          .slice(0, REASON_LIMIT)
      : "";
  return { addresses, reason };
}

/** The listing when the name is on the list and its answer fits the pattern. */
async function listed(evaluation: Evaluation, prefix: string, list: string): Promise<Answer> {
  const equals = list.indexOf("=");
  const domain = equals < 0 ? list : list.slice(0, equals);
  const answer = await ask(evaluation, `${prefix}.${domain}`);
  if (typeof answer === "string" || equals < 0) return answer;
  const pattern = parsePattern(list.slice(equals + 1));
  if (pattern === undefined) {
    warning(`bad RBL reply filter: ${list}`);
    return evaluation.serverError();
  }
  return answer.addresses.some(pattern) ? answer : "absent";
}

/** An address as labels: reversed octets, or reversed nibbles. */
function reversed(address: string): string | undefined {
  const bytes = parseInet(address);
  if (bytes === undefined) return undefined;
  if (bytes.length === 4) return [...bytes].reverse().join(".");
  return [...Buffer.from(bytes).toString("hex")].reverse().join(".");
}

interface What {
  readonly prefix: string;
  /** What the reply names. */
  readonly shown: string;
  readonly class: string;
}

function domainPrefix(domain: string | undefined): string | undefined {
  if (domain === undefined || domain === "" || domain.startsWith("[")) return undefined;
  return toAsciiDomain(domain);
}

const named = (name: string | undefined, shown: string | undefined, replyClass: string): What | undefined => {
  const prefix = domainPrefix(name);
  return prefix === undefined || shown === undefined ? undefined : { prefix, shown, class: replyClass };
};

const clientAddress = ({ session }: Evaluation): What | undefined => {
  const prefix = reversed(session.client.address);
  return prefix === undefined ? undefined : { prefix, shown: session.client.address, class: "Client host" };
};
const known = (name: string): string | undefined => (name === UNKNOWN ? undefined : name);
const clientName = ({ session }: Evaluation): What | undefined =>
  named(known(session.client.name), session.client.name, "Client host");

/** The list that is asked. Without one nothing is asked, as ever. */
function argumentOf(argument: () => string | undefined, name: string): string | undefined {
  const list = argument();
  if (list === undefined) warning(`restriction ${name} requires domain name argument`);
  return list;
}

const rejecting =
  (whatOf: (evaluation: Evaluation) => What | undefined): Restriction =>
  async (evaluation, _frame, argument, name) => {
    const list = argumentOf(argument, name);
    const what = whatOf(evaluation);
    if (list === undefined || what === undefined) return "dunno";
    const answer = await listed(evaluation, what.prefix, list);
    return typeof answer === "string" ? "dunno" : refuse(evaluation, list, what, answer);
  };

async function refuse(evaluation: Evaluation, list: string, what: What, listing: Listing): Promise<Verdict> {
  const { policy, settings, session, subject } = evaluation;
  const equals = list.indexOf("=");
  const domain = equals < 0 ? list : list.slice(0, equals);
  let template: string = settings.defaultRblReply;
  if (!policy.rblReplyMaps.empty) {
    for (const key of equals < 0 ? [domain] : [list, domain]) {
      const result = await policy.rblReplyMaps.lookup(key);
      if (result.kind === "error") return evaluation.serverError();
      if (result.kind === "absent") continue;
      template = result.value;
      break;
    }
  }
  const text = policy.expandReply(template, (name) => {
    switch (name) {
      case "rbl_code":
        return String(settings.codes.rbl);
      case "rbl_domain":
        return domain;
      case "rbl_reason":
      case "rbl_txt":
        return listing.reason;
      case "rbl_what":
        return what.shown;
      case "rbl_class":
        return what.class;
      default:
        return session.macro(name, subject.recipient);
    }
  });
  if (!isReplyWithCode(text)) {
    warning(`rbl response code configuration error: ${text}`);
    return evaluation.reject("policy", 450, "4.7.1", "Service unavailable");
  }
  const { status, text: rest } = splitStatus(text.slice(4), "4.7.1");
  return evaluation.reject(
    "policy",
    Number(text.slice(0, 3)),
    adaptStatus(status, what.class),
    rest === "" ? "Service unavailable" : rest,
    Number.POSITIVE_INFINITY,
  );
}

export const rejectClient = rejecting(clientAddress);
export const rejectClientName = rejecting(clientName);
export const rejectReverseClientName = rejecting(({ session }) =>
  named(known(session.client.reverseName), session.client.reverseName, "Unverified Client host"),
);
export const rejectHelo = rejecting(({ subject }) => named(subject.helo, subject.helo, "Helo command"));
export const rejectSender = rejecting(({ subject }) =>
  named(
    subject.sender === undefined ? undefined : splitAddress(subject.sender).domain,
    subject.sender,
    "Sender address",
  ),
);
export const rejectRecipient = rejecting(({ subject }) =>
  named(
    subject.recipient === undefined ? undefined : splitAddress(subject.recipient).domain,
    subject.recipient,
    "Recipient address",
  ),
);

const permitting =
  (whatOf: (evaluation: Evaluation) => What | undefined): Restriction =>
  async (evaluation, _frame, argument, name) => {
    const list = argumentOf(argument, name);
    const what = whatOf(evaluation);
    if (list === undefined || what === undefined) return "dunno";
    // A foreign list does not make us a relay.
    const { recipient } = evaluation.subject;
    if (recipient !== undefined && !(await authorizedDestination(evaluation, recipient))) return "dunno";
    const answer = await listed(evaluation, what.prefix, list);
    if (answer === "absent") return "dunno";
    if (answer === "failed")
      return evaluation.deferOnReject({
        errorClass: "policy",
        code: 450,
        dsn: "4.7.1",
        text: `<${what.shown}>: ${what.class} rejected: Service unavailable`,
      });
    return evaluation.permit(name, { name: evaluation.session.nameAddress, class: what.class });
  };

export const permitClient = permitting(clientAddress);
export const permitClientName = permitting(clientName);
