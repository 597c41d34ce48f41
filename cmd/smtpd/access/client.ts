/** Restrictions about the client. */
import { info } from "../../../lib/log/log.ts";
import { type Soon, when } from "../../../lib/sys/when.ts";
import type { MatchList, MatchResult } from "../../../lib/tables/match.ts";
import { UNKNOWN } from "../client.ts";
import type { Evaluation, Restriction, Verdict } from "./evaluation.ts";

const clientFrame = (evaluation: Evaluation) => ({
  name: evaluation.session.nameAddress,
  class: "Client host",
});

export const permitInetInterfaces: Restriction = async (evaluation) =>
  evaluation.policy.ownAddresses.has(evaluation.session.client.address)
    ? evaluation.permit("permit_inet_interfaces", clientFrame(evaluation))
    : "dunno";

export const permitMynetworks: Restriction = (evaluation, frame) => {
  const { client } = evaluation.session;
  return when(evaluation.policy.mynetworks.matches(client.name, client.address), (match) =>
    neighbour(evaluation, frame, match),
  );
};

function neighbour(evaluation: Evaluation, frame: { name: string }, match: MatchResult): Soon<Verdict> {
  if (match.kind === "error")
    return evaluation.reject("data", 451, "4.3.0", `<${frame.name}>: Temporary lookup failure`);
  if (match.kind !== "match") return "dunno";
  const permitted = (): Soon<Verdict> => evaluation.permit("permit_mynetworks", clientFrame(evaluation));
  const { presentNetworks } = evaluation.policy;
  return presentNetworks === undefined
    ? permitted()
    : noteNetworks(evaluation, presentNetworks).then(permitted);
}

/** Before compatibility level 2 our neighbours are in mynetworks by default: says whom the present default would not have let pass. */
async function noteNetworks(evaluation: Evaluation, present: MatchList): Promise<void> {
  const { session } = evaluation;
  const match = await present.matches(session.client.name, session.client.address);
  if (match.kind === "none")
    info(
      `using backwards-compatible default setting mynetworks_style=subnet to permit request from client "${session.nameAddress}"`,
    );
}

export const permitAuthenticated: Restriction = (evaluation) => {
  const { login } = evaluation.session;
  return login === undefined
    ? "dunno"
    : evaluation.permit("permit_sasl_authenticated", clientFrame(evaluation));
};

function unknownName(evaluation: Evaluation, temporary: boolean, dsn: string, text: string): Verdict {
  const code = temporary ? 450 : evaluation.settings.codes.unknownClient;
  return evaluation.reject(
    "policy",
    code,
    dsn,
    `Client host rejected: ${text}, [${evaluation.session.client.address}]`,
  );
}

/** The name must be verified: RFC 8601 section 3. */
export const rejectUnknownClient: Restriction = async (evaluation) => {
  const { name, nameStatus } = evaluation.session.client;
  if (name !== UNKNOWN && nameStatus === "ok") return "dunno";
  return unknownName(evaluation, nameStatus === "temporary", "4.7.25", "cannot find your hostname");
};

export const rejectUnknownReverse: Restriction = async (evaluation) => {
  const { reverseName, reverseStatus } = evaluation.session.client;
  if (reverseName !== UNKNOWN) return "dunno";
  return unknownName(evaluation, reverseStatus === "temporary", "4.7.1", "cannot find your reverse hostname");
};
