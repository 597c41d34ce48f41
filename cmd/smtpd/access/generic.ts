/** Restrictions that need no particular subject. */
import { warning } from "../../../lib/log/log.ts";
import { readDecimal } from "../../../lib/sys/numbers.ts";
import { type Restriction, rejected, type Verdict } from "./evaluation.ts";
import { tableOf } from "./tables.ts";

export const permit: Restriction = (evaluation, frame) => evaluation.permit("permit", frame);

export const reject: Restriction = async (evaluation, frame) =>
  evaluation.reject("policy", evaluation.settings.codes.reject, "5.7.1", `${rejected(frame)} Access denied`);

export const defer: Restriction = async (evaluation, frame) =>
  evaluation.reject("policy", evaluation.settings.codes.defer, "4.3.2", `${rejected(frame)} Try again later`);

export const deferIfPermit: Restriction = async (evaluation, frame) =>
  evaluation.deferOnPermit({
    errorClass: "policy",
    code: 450,
    dsn: "4.7.0",
    text: `${rejected(frame)} defer_if_permit requested`,
  });

export const deferIfReject: Restriction = async (evaluation, frame) =>
  evaluation.deferOnReject({
    errorClass: "policy",
    code: 450,
    dsn: "4.7.0",
    text: `${rejected(frame)} defer_if_reject requested`,
  });

export const sleep: Restriction = async (evaluation, _frame, argument): Promise<Verdict> => {
  const seconds = readDecimal(argument() ?? "", 86_400);
  if (seconds === undefined) {
    warning("restriction sleep must be followed by number");
    return evaluation.serverError();
  }
  await evaluation.session.services.sleep(seconds);
  return "dunno";
};

export const rejectPlaintextSession: Restriction = async (evaluation) =>
  evaluation.reject("policy", evaluation.settings.codes.plaintext, "4.7.1", "Session encryption is required");

export const rejectUnauthPipelining: Restriction = async (evaluation, frame) =>
  evaluation.session.sawPipelining
    ? evaluation.reject(
        "protocol",
        503,
        "5.5.0",
        `${rejected(frame)} Improper use of SMTP command pipelining`,
      )
    : "dunno";

/** A restriction of another program, or of another year: says so and puts the command off. */
export const removed =
  (instead: string): Restriction =>
  (evaluation, _frame, _argument, name) => {
    warning(`support for restriction "${name}" has been removed in Postfix 3.9; instead, specify ${instead}`);
    return evaluation.serverError();
  };

/** Restrictions about certificates have nothing to look at without TLS. */
export const withoutTls: Restriction = () => "dunno";

export const checkCertificate: Restriction = (evaluation, _frame, argument, name) => {
  tableOf(evaluation, name, argument());
  warning(`${name} is requested, but "smtpd_tls_ask_ccert = no"`);
  return "dunno";
};

export const withoutSasl: Restriction = (_evaluation, _frame, _argument, name) => {
  warning(`restriction \`${name}' ignored: no SASL support`);
  return "dunno";
};

export const withoutSaslTable: Restriction = (evaluation, frame, argument, name) => {
  tableOf(evaluation, name, argument());
  return withoutSasl(evaluation, frame, argument, name);
};

/** reject_sender_login_mismatch stands for two others. */
export const withoutSaslBoth: Restriction = () => {
  for (const name of [
    "reject_authenticated_sender_login_mismatch",
    "reject_unauthenticated_sender_login_mismatch",
  ])
    warning(`restriction \`${name}' ignored: no SASL support`);
  return "dunno";
};
