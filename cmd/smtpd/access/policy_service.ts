/** check_policy_service: another program decides (SMTPD_POLICY_README; smtpd.md 21). */
import { parameter } from "../../../lib/config/configuration.ts";
import type { PolicyAttributes } from "../../../lib/ipc/protocols/policy.ts";
import { warning } from "../../../lib/log/log.ts";
import { isValidUtf8, printable } from "../../../lib/sys/bytes.ts";
import type { PolicyService } from "../policy_service.ts";
import { instanceOf } from "../transaction.ts";
import type { Evaluation, Restriction } from "./evaluation.ts";
import { tableResult } from "./results.ts";

const FAILURE = "451 4.3.5 Server configuration problem";

export const checkPolicyService: Restriction = async (evaluation, frame, argument, name) => {
  const word = argument();
  const service = word === undefined ? undefined : evaluation.policy.policyServices.get(word);
  if (service === undefined) {
    warning(`restriction ${name} must be followed by transport:server`);
    return evaluation.serverError();
  }
  const query = { table: service, frame, check: name, subject: "policy query" };
  const action = await answerOf(evaluation, service);
  if (action !== undefined) return tableResult(evaluation, query, action);
  // a default action may ask a policy server in turn, but not without end
  const instead = evaluation.defaultAction ? FAILURE : service.rules.default_action;
  const outer = evaluation.defaultAction;
  evaluation.defaultAction = true;
  try {
    return await tableResult(evaluation, query, instead);
  } finally {
    evaluation.defaultAction = outer;
  }
};

async function answerOf(evaluation: Evaluation, service: PolicyService): Promise<string | undefined> {
  const { session, settings } = evaluation;
  const action = await service.ask(session.services, attributesOf(evaluation, service.rules.policy_context));
  if (action === undefined || !settings.utf8 || isValidUtf8(action)) return action;
  warning(`malformed UTF-8 in policy server ${service.name} response: "${printable(action)}"`);
  return undefined;
}

function attributesOf({ session, subject }: Evaluation, context: string): PolicyAttributes {
  const { client, transaction } = session;
  const content = subject.stage === "DATA" || subject.stage === "END-OF-MESSAGE";
  const queueId = session.queueId;
  return {
    protocol_state: subject.stage === "HELO" ? session.where : subject.stage,
    protocol_name: session.protocol,
    client_address: client.address,
    client_name: client.name,
    client_port: client.port,
    reverse_client_name: client.reverseName,
    server_address: client.serverAddress,
    server_port: client.serverPort,
    helo_name: subject.helo ?? "",
    sender: subject.sender ?? "",
    recipient: subject.recipient ?? "",
    recipient_count: content ? subject.recipientCount : 0,
    queue_id: queueId === "NOQUEUE" ? "" : queueId,
    // a message has its name once its sender is accepted
    instance: subject.stage === "MAIL" || transaction === undefined ? "" : instanceOf(transaction),
    size: subject.size ?? session.declaredSize,
    etrn_domain: subject.etrnDomain ?? "",
    stress: parameter("stress"),
    sasl_method: session.login === undefined ? "" : "XCLIENT",
    sasl_username: session.login ?? "",
    sasl_sender: "",
    ccert_subject: "",
    ccert_issuer: "",
    ccert_fingerprint: "",
    ccert_pubkey_fingerprint: "",
    encryption_protocol: "",
    encryption_cipher: "",
    encryption_keysize: 0,
    tls_sni: "",
    policy_context: context,
    compatibility_level: parameter("compatibility_level"),
    mail_version: parameter("mail_version"),
  };
}
