/** `/file` destinations (delivery.md 4.8). */
import { parameter } from "../../lib/config/configuration.ts";
import { MBOX } from "../../lib/delivery/copy.ts";
import type { Disposition } from "../../lib/delivery/disposition.ts";
import { deliverMbox } from "../../lib/delivery/mbox.ts";
import { markCorrupt } from "../../lib/delivery/request.ts";
import { dsn, isTraceOnly } from "../../lib/delivery/status.ts";
import type { Identity } from "../../lib/privsep/identity.ts";
import { deliverToMaildir } from "./maildir.ts";
import { failToOwner } from "./owner.ts";
import { copySource, type State, sentTo } from "./state.ts";
import { deliveryUser } from "./user.ts";

export async function deliverFile(state: State, path: string, allowed: boolean): Promise<Disposition> {
  const { session } = state;
  const { request, settings } = session;
  const user = deliveryUser(state.rights);
  if (session.duplicates.seen(`file ${user.uid} ${path}`)) return "finished";
  if (!allowed) return failToOwner(state, dsn("5.7.1", "mail to file is restricted"));
  if (isTraceOnly(request.flags)) return sentTo(state, dsn("2.0.0", `delivers to file: ${path}`));
  const identity: Identity = { uid: user.uid, gid: user.gid };
  if (path.endsWith("/")) return deliverToMaildir(state, path, identity, "delivered to maildir");
  const outcome = await deliverMbox({
    source: copySource(state, parameter("enable_original_recipient")),
    options: { ...MBOX, deliveredTo: settings.prependDelivered.has("file") },
    open: {
      path,
      locks: settings.locks,
      dotlockOptional: true,
      defaultStatus: "5.2.0",
      attempts: parameter("deliver_lock_attempts"),
      delay: parameter("deliver_lock_delay"),
      staleTime: parameter("stale_lock_time"),
    },
    spool: identity,
    recipient: identity,
    inspect: ({ stat }) =>
      stat.isFile() && (stat.mode & 0o111) !== 0 ? dsn("5.7.1", "file is executable") : undefined,
    prefix: `cannot append message to file ${path}: `,
    now: session.startTime,
  });
  switch (outcome.kind) {
    case "delivered":
      return sentTo(state, dsn("2.0.0", `delivered to file: ${path}`));
    case "corrupt":
      markCorrupt(request, outcome.recordType);
      session.outcomes++;
      return "retry";
    case "failed":
      return failToOwner(state, outcome.dsn);
  }
}
