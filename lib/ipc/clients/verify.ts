/** Client of verify(8) (ipc.md 5.5). */
import { type Configuration, configuration } from "../../config/configuration.ts";
import { PersistentClient } from "../client.ts";
import {
  RECIPIENT_STATUS,
  VERIFY_STATUS,
  VerifyGreeting,
  VerifyQuery,
  VerifyQueryReply,
  VerifyStatus,
  VerifyUpdate,
} from "../protocols/verify.ts";

const clients = new WeakMap<Configuration, PersistentClient>();

/** The kept connections of this process. */
function service(): PersistentClient {
  const current = configuration();
  let client = clients.get(current);
  if (client === undefined) {
    client = new PersistentClient({
      serviceClass: "private",
      service: current.get("address_verify_service_name"),
      greeting: VerifyGreeting,
      retry: "forever",
      timeLimit: current.get("ipc_timeout"),
      idleLimit: current.get("ipc_idle"),
      ageLimit: current.get("ipc_ttl"),
    });
    clients.set(current, client);
  }
  return client;
}

/** Reports the outcome of a probe (`RECIPIENT_STATUS`); false when verify(8) did not take it. */
export async function updateVerify(
  address: string,
  recipientStatus: number,
  reason: string,
): Promise<boolean> {
  const reply = await service().request(VerifyUpdate, { address, recipientStatus, reason }, VerifyStatus);
  return reply?.status === VERIFY_STATUS.ok;
}

export type VerifyAnswer =
  | { readonly kind: "known"; readonly recipientStatus: number; readonly reason: string }
  | { readonly kind: "failed" };

/** What is known about an address; asking starts a probe when that is due. */
export async function queryVerify(address: string): Promise<VerifyAnswer> {
  const reply = await service().request(VerifyQuery, { address }, VerifyQueryReply);
  if (reply === undefined) return { kind: "failed" };
  const valid =
    reply.recipientStatus >= RECIPIENT_STATUS.ok && reply.recipientStatus <= RECIPIENT_STATUS.todo;
  return reply.status === VERIFY_STATUS.ok && valid
    ? { kind: "known", recipientStatus: reply.recipientStatus, reason: reply.reason }
    : { kind: "failed" };
}
