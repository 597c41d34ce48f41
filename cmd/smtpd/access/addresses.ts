/** Restrictions about the form and the domain of the sender's and the recipient's address. */
import { isValidUtf8Hostname } from "../../../lib/address/hostname.ts";
import { splitAddress } from "../../../lib/address/split.ts";
import { RESOLVE_FLAG } from "../../../lib/ipc/protocols/rewrite.ts";
import { addressTypes, nameExists, onTemporaryFailure } from "./dns.ts";
import { type Evaluation, type Restriction, rejected, type Verdict } from "./evaluation.ts";

const FINAL = RESOLVE_FLAG.local | RESOLVE_FLAG.virtualAlias | RESOLVE_FLAG.virtualMailbox;

function nonFqdn(evaluation: Evaluation, address: string, replyClass: string): Verdict {
  const { domain } = splitAddress(address);
  if (domain?.startsWith("[") === true && domain.endsWith("]")) return "dunno";
  const name = domain?.endsWith(".") === true ? domain.slice(0, -1) : domain;
  if (name?.includes(".") === true && isValidUtf8Hostname(name)) return "dunno";
  return evaluation.reject(
    "policy",
    evaluation.settings.codes.nonFqdn,
    "4.5.2",
    `${rejected({ name: address, class: replyClass })} need fully-qualified address`,
  );
}

export const rejectNonFqdnSender: Restriction = async (evaluation) => {
  const { sender } = evaluation.subject;
  return sender === undefined || sender === "" ? "dunno" : nonFqdn(evaluation, sender, "Sender address");
};

export const rejectNonFqdnRecipient: Restriction = async (evaluation) => {
  const { recipient } = evaluation.subject;
  return recipient === undefined ? "dunno" : nonFqdn(evaluation, recipient, "Recipient address");
};

interface Side {
  readonly class: string;
  readonly dsn: string;
  readonly nullMx: { readonly code: number; readonly dsn: string };
}

const SENDER: Side = { class: "Sender address", dsn: "4.1.8", nullMx: { code: 550, dsn: "5.7.27" } };
const RECIPIENT: Side = { class: "Recipient address", dsn: "4.1.2", nullMx: { code: 556, dsn: "5.1.10" } };

async function unknownDomain(
  evaluation: Evaluation,
  address: string,
  resolved: { recipient: string; flags: number },
  side: Side,
): Promise<Verdict> {
  if ((resolved.flags & FINAL) !== 0) return "dunno";
  const { domain } = splitAddress(resolved.recipient);
  if (domain === undefined || (domain.startsWith("[") && domain.endsWith("]"))) return "dunno";
  const { settings } = evaluation;
  const text = (what: string): string => `${rejected({ name: address, class: side.class })} ${what}`;
  const outcome = await nameExists(evaluation, domain, ["MX", ...addressTypes()]);
  switch (outcome) {
    case "found":
      return "dunno";
    case "null-mx":
      return evaluation.reject(
        "policy",
        side.nullMx.code,
        side.nullMx.dsn,
        text(`Domain ${domain} does not accept mail (nullMX)`),
      );
    case "temporary":
      return onTemporaryFailure(
        evaluation,
        "unknown_address_tempfail_action",
        settings.unknownAddressTempfail,
        {
          errorClass: "policy",
          code: 450,
          dsn: side.dsn,
          text: text("Domain not found"),
        },
      );
    default:
      return evaluation.reject(
        "policy",
        settings.codes.unknownAddress,
        side.dsn,
        text(outcome === "malformed" ? "Malformed DNS server reply" : "Domain not found"),
      );
  }
}

export const rejectUnknownSenderDomain: Restriction = async (evaluation) => {
  const { sender } = evaluation.subject;
  if (sender === undefined || sender === "") return "dunno";
  return unknownDomain(evaluation, sender, await evaluation.resolveSender(sender), SENDER);
};

export const rejectUnknownRecipientDomain: Restriction = async (evaluation) => {
  const { recipient } = evaluation.subject;
  if (recipient === undefined) return "dunno";
  return unknownDomain(evaluation, recipient, await evaluation.resolveRecipient(recipient), RECIPIENT);
};

/** RFC 5321 section 6.1: the null sender writes to one recipient. */
export const rejectMultiRecipientBounce: Restriction = async (evaluation, frame) => {
  const { sender, recipientCount, stage } = evaluation.subject;
  const many = stage === "DATA" || stage === "END-OF-MESSAGE" ? recipientCount > 1 : recipientCount >= 1;
  if (sender !== "" || !many) return "dunno";
  return evaluation.reject(
    "policy",
    evaluation.settings.codes.multiRecipientBounce,
    "5.5.3",
    `${rejected(frame)} Multi-recipient bounce`,
  );
};
