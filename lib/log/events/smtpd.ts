/** Lines of smtpd(8) that log analysers read (logging.md 9.1). */
import { defineEvent } from "../event.ts";

export const clientConnected = defineEvent<{ client: string; name: string; address: string }>(
  "smtpd_connect",
  "info",
  (f) => `connect from ${f.client}`,
);

export const clientDisconnected = defineEvent<{ client: string; commands: string; notes: string }>(
  "smtpd_disconnect",
  "info",
  (f) => `disconnect from ${f.client}${f.commands}${f.notes}`,
);

/** A queue file was opened for a client's message. */
export const messageOpened = defineEvent<{
  queueId: string;
  client: string;
  saslMethod: string | undefined;
  saslUsername: string | undefined;
  originalId: string | undefined;
  originalClient: string | undefined;
}>("smtpd_client", "info", (f) => {
  let text = `${f.queueId}: client=${f.client}`;
  if (f.saslMethod !== undefined) text += `, sasl_method=${f.saslMethod}`;
  if (f.saslUsername !== undefined) text += `, sasl_username=${f.saslUsername}`;
  if (f.originalId !== undefined) text += `, orig_queue_id=${f.originalId}`;
  if (f.originalClient !== undefined) text += `, orig_client=${f.originalClient}`;
  return text;
});

/** A decision of access control. */
export const accessDecision = defineEvent<{
  queueId: string;
  action: string;
  where: string;
  client: string;
  reply: string;
  sender: string | undefined;
  recipient: string | undefined;
  protocol: string | undefined;
  helo: string | undefined;
  saslMethod: string | undefined;
  saslUsername: string | undefined;
}>("smtpd_access", "info", (f) => {
  let text = `${f.queueId}: ${f.action}: ${f.where} from ${f.client}: ${f.reply};`;
  if (f.sender !== undefined) text += ` from=<${f.sender}>`;
  if (f.recipient !== undefined) text += ` to=<${f.recipient}>`;
  if (f.protocol !== undefined) text += ` proto=${f.protocol}`;
  if (f.helo !== undefined) text += ` helo=<${f.helo}>`;
  if (f.saslMethod !== undefined) text += ` sasl_method=${f.saslMethod}`;
  if (f.saslUsername !== undefined) text += ` sasl_username=${f.saslUsername}`;
  return text;
});

/** What a filter before the queue made of a message. */
export const proxyDecision = defineEvent<{
  accepted: boolean;
  where: string;
  reply: string;
  sender: string | undefined;
  recipient: string | undefined;
  protocol: string;
  helo: string | undefined;
  saslUsername: string | undefined;
}>("smtpd_proxy", "info", (f) => {
  let text = `proxy-${f.accepted ? "accept" : "reject"}: ${f.where}: ${f.reply};`;
  if (f.sender !== undefined) text += ` from=<${f.sender}>`;
  if (f.recipient !== undefined) text += ` to=<${f.recipient}>`;
  text += ` proto=${f.protocol}`;
  if (f.helo !== undefined) text += ` helo=<${f.helo}>`;
  if (f.saslUsername !== undefined) text += ` sasl_username=<${f.saslUsername}>`;
  return text;
});

/** The session ended early: `lost connection`, `timeout`, `too many errors`. */
export const sessionAborted = defineEvent<{ queueId: string; reason: string; where: string; client: string }>(
  "smtpd_abort",
  "info",
  (f) => `${f.queueId}: ${f.reason} after ${f.where} from ${f.client}`,
);

export const improperPipelining = defineEvent<{ where: string; client: string; data: string }>(
  "smtpd_pipelining",
  "info",
  (f) => `improper command pipelining after ${f.where} from ${f.client}: ${f.data}`,
);
