/** From the connection to the point where mail can be sent: greeting, EHLO or LHLO or HELO, features (RFC 5321 3.1, 3.2). */
import { type Dsn, dsn } from "../../lib/delivery/status.ts";
import { SENDOPT } from "../../lib/ipc/protocols/delivery.ts";
import { info, warning } from "../../lib/log/log.ts";
import { type Features, NO_FEATURES, parseFeatures, serverName } from "../../lib/smtp/client_features.ts";
import type { ServerReply } from "../../lib/smtp/client_reply.ts";
import {
  LocalDataError,
  nameAddress,
  nameAddressPort,
  type SmtpSession,
} from "../../lib/smtp/client_session.ts";
import { EHLO_KEYWORDS } from "../../lib/smtp/ehlo_keywords.ts";
import { equalFold, lowerAscii, splitAny, upperAscii } from "../../lib/sys/bytes.ts";
import { type Soon, when } from "../../lib/sys/when.ts";
import { type Delivery, flatReply, isProtocolError, replyStatus } from "./delivery.ts";
import type { SessionNotes } from "./notice.ts";

export interface HelloContext {
  readonly delivery: Delivery;
  readonly session: SmtpSession;
  readonly notes: SessionNotes;
  /** Next hop for texts. */
  readonly nexthop: string;
  /** The server is one of the best preference. */
  readonly bestServer: boolean;
  /** SMTP on port 25: our own name in the server's mouth means a loop. */
  readonly detectLoops: boolean;
}

export interface PixWorkarounds {
  readonly disableEsmtp: boolean;
  readonly delayDot: boolean;
}
export const NO_WORKAROUNDS: PixWorkarounds = { disableEsmtp: false, delayDot: false };

export type Hello =
  | { readonly kind: "ready"; readonly pix: PixWorkarounds }
  /** The session is of no use; QUIT may still be said. */
  | { readonly kind: "failed"; readonly status: Dsn };

/** Whether the message cannot go to a server without SMTPUTF8. */
export const requiresUtf8 = (sendopts: number): boolean =>
  (sendopts & SENDOPT.smtputf8Requested) !== 0 &&
  (sendopts & (SENDOPT.smtputf8Header | SENDOPT.smtputf8Sender | SENDOPT.smtputf8Recipient)) !== 0;

function refused(context: HelloContext, reply: ServerReply, soften: boolean): Hello {
  const { session, notes } = context;
  if (isProtocolError(reply)) notes.mark("protocol");
  const status = replyStatus(
    session,
    reply,
    `host ${nameAddress(session.peer)} refused to talk to me: ${flatReply(reply)}`,
  );
  if (soften && reply.code >= 500 && status.status.startsWith("5"))
    return { kind: "failed", status: { ...status, status: `4${status.status.slice(1)}` } };
  return { kind: "failed", status: status.status.startsWith("2") ? { ...status, status: "5.5.0" } : status };
}

const PIX_GREETING = /^[02 *\n]+$/;
const PIX_WORDS = ["disable_esmtp", "delay_dotcrlf"];

/** Workarounds for a firewall that blots out the greeting. */
const pixWorkarounds = (context: HelloContext, greeting: string): Soon<PixWorkarounds> =>
  PIX_GREETING.test(greeting) ? lookUpWorkarounds(context) : NO_WORKAROUNDS;

async function lookUpWorkarounds({ delivery, session }: HelloContext): Promise<PixWorkarounds> {
  const { settings, tables } = delivery.agent;
  const found = await tables.pixWorkarounds.lookup(session.peer.address);
  const value = found.kind === "found" ? found.value : settings.get("pix_workarounds");
  const age = Date.now() / 1000 - delivery.request.stats.incomingArrival.seconds;
  const configured = splitAny(value, ", \t\r\n").map(lowerAscii);
  if (configured.length === 0) return NO_WORKAROUNDS;
  const words = PIX_WORDS.filter(
    (word) =>
      configured.includes(word) &&
      (word !== "delay_dotcrlf" || age > settings.get("pix_workaround_threshold_time")),
  );
  info(
    `${delivery.queueId}: enabling PIX workarounds: ${words.join(", ")} for ${nameAddressPort(session.peer)}`,
  );
  return { disableEsmtp: words.includes("disable_esmtp"), delayDot: words.includes("delay_dotcrlf") };
}

const NONE: ReadonlySet<string> = new Set();

/** Keywords that are not to be believed. */
function discardedKeywords(context: HelloContext): Soon<ReadonlySet<string>> {
  const { settings, tables } = context.delivery.agent;
  return tables.discardKeywords.empty && settings.discardKeywords === "" ? NONE : lookUpDiscarded(context);
}

async function lookUpDiscarded({ delivery, session }: HelloContext): Promise<ReadonlySet<string>> {
  const { settings, tables } = delivery.agent;
  const { address } = session.peer;
  const found = await tables.discardKeywords.lookup(address);
  if (found.kind === "error") {
    const { title } = tables.discardKeywords;
    warning(`${delivery.queueId}: ${title} map lookup error for ${address}`);
    throw new LocalDataError(title);
  }
  const value = found.kind === "found" ? found.value : settings.discardKeywords;
  if (value === "") return new Set();
  const words = splitAny(value, ", \t\r\n").map(upperAscii);
  const silent = words.includes("SILENT-DISCARD");
  const keywords = EHLO_KEYWORDS.filter((keyword) => words.includes(keyword));
  if (!silent && keywords.length > 0) info(`discarding EHLO keywords: ${keywords.join(", ")}`);
  return new Set(keywords);
}

/** Reads the greeting and introduces us. Throws when the connection breaks. */
export async function sayHello(context: HelloContext): Promise<Hello> {
  const { delivery, session } = context;
  const { settings } = delivery.agent;
  const limit = settings.limits.helo;
  session.state = "receiving the initial server greeting";
  const greeting = await session.reply(limit);
  if (Math.floor(greeting.code / 100) !== 2) return refused(context, greeting, settings.skip5xxGreeting);
  const known = pixWorkarounds(context, greeting.text);
  const pix = known instanceof Promise ? await known : known;
  if (settings.mode === "lmtp") {
    const reply = await introduce(context, "LHLO");
    if (!isPositive(reply)) return refused(context, reply, false);
    return learn(context, await offeredFeatures(context, reply), pix);
  }
  const name = serverName(greeting.text);
  if (context.detectLoops && equalFold(name, settings.myhostname))
    warning(`host ${nameAddressPort(session.peer)} greeted me with my own hostname ${settings.myhostname}`);
  const announced = splitAny(greeting.text.slice(4), " \t\n").some((word) => equalFold(word, "ESMTP"));
  const extended = (settings.alwaysEhlo || announced) && !settings.neverEhlo && !pix.disableEsmtp;
  if (extended) {
    const reply = await introduce(context, "EHLO");
    if (isPositive(reply))
      return when(offeredFeatures(context, reply), (features) => learn(context, features, pix));
    if (reply.code === 421) return refused(context, reply, false);
  }
  const reply = await introduce(context, "HELO");
  if (!isPositive(reply)) return refused(context, reply, false);
  return learn(context, { ...NO_FEATURES, serverName: serverName(reply.text) }, pix);
}

const isPositive = (reply: ServerReply): boolean => reply.code >= 200 && reply.code < 300;

function introduce(context: HelloContext, verb: "EHLO" | "HELO" | "LHLO"): Promise<ServerReply> {
  const { settings } = context.delivery.agent;
  context.session.state = `performing the ${verb} handshake`;
  return context.session.ask(`${verb} ${settings.heloName}`, settings.limits.helo);
}

const offeredFeatures = (context: HelloContext, reply: ServerReply): Soon<Features> =>
  when(discardedKeywords(context), (discarded) => {
    const features = parseFeatures(reply.text, discarded);
    for (const size of features.badSizes)
      warning(`bad EHLO SIZE limit "${size}" from ${nameAddressPort(context.session.peer)}`);
    return features;
  });

/** Takes the features over, unless they show that this is the wrong place for the message. */
function learn(context: HelloContext, offered: Features, pix: PixWorkarounds): Hello {
  const { delivery, session } = context;
  const { settings } = delivery.agent;
  const peer = nameAddress(session.peer);
  let features = offered;
  if (context.detectLoops && equalFold(features.serverName, settings.myhostname)) {
    warning(
      `host ${nameAddressPort(session.peer)} replied to HELO/EHLO with my own hostname ${settings.myhostname}`,
    );
    const code = context.bestServer ? "5.4.6" : "4.4.6";
    return { kind: "failed", status: dsn(code, `mail for ${delivery.request.nexthop} loops back to myself`) };
  }
  if (features.keywords.has("SMTPUTF8") && !features.keywords.has("8BITMIME")) {
    info(`host ${peer} offers SMTPUTF8 support, but not 8BITMIME`);
    features = { ...features, keywords: new Set([...features.keywords, "8BITMIME"] as const) };
  }
  session.features = features;
  const { sendopts } = delivery.request;
  if (requiresUtf8(sendopts) && !features.keywords.has("SMTPUTF8")) {
    const reason = `message requires SMTPUTF8, but no server was found that supports SMTPUTF8. The last attempted server was ${peer}`;
    return { kind: "failed", status: softUnlessFinal(delivery, dsn("5.6.7", reason)) };
  }
  if (
    settings.tlsLevel === "none" &&
    settings.get("tls_note_starttls_offer") &&
    features.keywords.has("STARTTLS")
  )
    info(`Host offered STARTTLS: [${session.peer.host}]`);
  if (delivery.tls !== undefined) delivery.tls = settings.tlsLevel === "may" ? "may:none" : "none";
  if (delivery.requireTls !== "") delivery.requireTls = "/requiretls:none";
  return { kind: "ready", pix };
}

/** A failure that another server may not share. */
export const softUnlessFinal = (delivery: Delivery, status: Dsn): Dsn =>
  delivery.finalServer ? status : { ...status, status: `4${status.status.slice(1)}` };
