/** Restrictions about the HELO name. RFC 5321 section 4.1.4. */
import { addressFault } from "../../../lib/address/address_syntax.ts";
import { isValidAddressLiteral, isValidHostname } from "../../../lib/address/hostname.ts";
import { addressTypes, nameExists, onTemporaryFailure } from "./dns.ts";
import { type Evaluation, type Restriction, rejected, type Verdict } from "./evaluation.ts";

/** Runs a check on the name, when there is one. */
const onHelo =
  (check: (evaluation: Evaluation, helo: string, frame: HeloFrame) => ReturnType<Restriction>): Restriction =>
  async (evaluation) => {
    const { helo } = evaluation.subject;
    return helo === undefined ? "dunno" : check(evaluation, helo, { name: helo, class: "Helo command" });
  };

const withoutDot = (name: string): string =>
  name.endsWith(".") && name.length > 1 ? name.slice(0, -1) : name;

type HeloFrame = { readonly name: string; readonly class: string };

const invalid = (evaluation: Evaluation, frame: HeloFrame, text: string): Verdict =>
  evaluation.reject(
    "policy",
    evaluation.settings.codes.invalidHostname,
    "5.5.2",
    `${rejected(frame)} ${text}`,
  );

const checkLiteral = (evaluation: Evaluation, name: string, frame: HeloFrame): Verdict =>
  isValidAddressLiteral(name) ? "dunno" : invalid(evaluation, frame, "invalid ip address");

export const rejectInvalid = onHelo(async (evaluation, helo, frame) => {
  const name = withoutDot(helo);
  if (name.startsWith("[")) return checkLiteral(evaluation, name, frame);
  if (addressFault(name) === undefined) return "dunno";
  return isValidHostname(name) ? "dunno" : invalid(evaluation, frame, "Invalid name");
});

export const rejectNonFqdn = onHelo(async (evaluation, helo, frame) => {
  const name = withoutDot(helo);
  if (name.startsWith("[")) return "dunno";
  if (name.includes(".") && isValidHostname(name)) return "dunno";
  return evaluation.reject(
    "policy",
    evaluation.settings.codes.nonFqdn,
    "5.5.2",
    `${rejected(frame)} need fully-qualified hostname`,
  );
});

export const rejectUnknown = onHelo(async (evaluation, helo, frame) => {
  if (helo.startsWith("[")) return checkLiteral(evaluation, helo, frame);
  const { settings } = evaluation;
  const text = (what: string): string => `${rejected(frame)} ${what}`;
  const outcome = isValidHostname(helo)
    ? await nameExists(evaluation, helo, [...addressTypes(), "MX"])
    : "not-found";
  switch (outcome) {
    case "found":
    case "null-mx":
      return "dunno";
    case "temporary":
      return onTemporaryFailure(
        evaluation,
        "unknown_helo_hostname_tempfail_action",
        settings.unknownHeloTempfail,
        {
          errorClass: "policy",
          code: 450,
          dsn: "4.7.1",
          text: text("Host not found"),
        },
      );
    default:
      return evaluation.reject(
        "policy",
        settings.codes.unknownHostname,
        "4.7.1",
        text(outcome === "malformed" ? "Malformed DNS server reply" : "Host not found"),
      );
  }
});
