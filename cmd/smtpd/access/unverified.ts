/** reject_unverified_sender and reject_unverified_recipient: does the address take mail (smtpd.md 20.9). */
import { configuration } from "../../../lib/config/configuration.ts";
import { warning } from "../../../lib/log/log.ts";
import { printable } from "../../../lib/sys/bytes.ts";
import { onTemporaryFailure } from "./dns.ts";
import { type Evaluation, type Restriction, rejected, type Verdict } from "./evaluation.ts";

interface Side {
  readonly class: "Sender address" | "Recipient address";
  readonly detail: string;
  readonly name: "sender" | "recipient";
}

const SENDER: Side = { class: "Sender address", detail: "1.7", name: "sender" };
const RECIPIENT: Side = { class: "Recipient address", detail: "1.1", name: "recipient" };

async function verified(
  evaluation: Evaluation,
  address: string,
  resolved: string,
  side: Side,
): Promise<Verdict> {
  const current = configuration();
  const action = current.get(`unverified_${side.name}_tempfail_action`);
  const code = current.get(`unverified_${side.name}_reject_code`);
  const deferCode = current.get(`unverified_${side.name}_defer_code`);
  const hidden = current.get(`unverified_${side.name}_reject_reason`);
  const text = (what: string): string => `${rejected({ name: address, class: side.class })} ${what}`;
  const later = (replyCode: number, what: string): Verdict =>
    onTemporaryFailure(evaluation, `unverified_${side.name}_tempfail_action`, action, {
      errorClass: "bounce",
      code: replyCode,
      dsn: `4.${side.detail}`,
      text: text(what),
    });
  const { services } = evaluation.session;
  const attempts = current.get("address_verify_poll_count");
  for (let attempt = 1; ; attempt++) {
    const answer = await services.verify(resolved);
    if (answer === undefined) {
      warning("verify service failure");
      return later(450, "address verification problem");
    }
    if (answer.outcome === "deliverable") return "dunno";
    if (answer.outcome === "in progress" && attempt < attempts) {
      await services.sleep(current.get("address_verify_poll_delay"));
      continue;
    }
    const reason = printable(hidden === "" ? answer.reason : hidden, evaluation.settings.utf8).slice(0, 250);
    if (answer.outcome !== "undeliverable")
      return deferCode >= 400 ? later(deferCode, `unverified address: ${reason}`) : "dunno";
    if (code < 400) return "dunno";
    return evaluation.reject(
      "bounce",
      code,
      `${Math.floor(code / 100)}.${side.detail}`,
      text(`${code < 500 ? "unverified" : "undeliverable"} address: ${reason}`),
    );
  }
}

export const rejectUnverifiedSender: Restriction = async (evaluation) => {
  const { sender } = evaluation.subject;
  if (sender === undefined || sender === "") return "dunno";
  return verified(evaluation, sender, (await evaluation.resolveSender(sender)).recipient, SENDER);
};

export const rejectUnverifiedRecipient: Restriction = async (evaluation) => {
  const { recipient } = evaluation.subject;
  if (recipient === undefined) return "dunno";
  return verified(evaluation, recipient, (await evaluation.resolveRecipient(recipient)).recipient, RECIPIENT);
};
