/** Delivery into the Maildir of a user, or of a file destination that ends in a slash (delivery.md 4.6, 4.8). */
import { parameter } from "../../lib/config/configuration.ts";
import type { Disposition } from "../../lib/delivery/disposition.ts";
import { deliverMaildir } from "../../lib/delivery/maildir.ts";
import { markCorrupt } from "../../lib/delivery/request.ts";
import { dsn } from "../../lib/delivery/status.ts";
import { warning } from "../../lib/log/log.ts";
import { asUser, type Identity } from "../../lib/privsep/identity.ts";
import { copySource, fail, type State, sentTo } from "./state.ts";

export async function deliverToMaildir(
  state: State,
  directory: string,
  identity: Identity,
  success: string,
): Promise<Disposition> {
  const { session } = state;
  const source = copySource(state, parameter("enable_original_recipient"));
  const outcome = await deliverMaildir(
    source,
    directory,
    (work) => asUser(identity, work),
    "5.2.0",
    session.startTime,
  );
  switch (outcome.kind) {
    case "delivered":
      return sentTo(state, dsn("2.0.0", success));
    case "corrupt":
      markCorrupt(session.request, outcome.recordType);
      session.outcomes++;
      return "retry";
    case "failed": {
      if (outcome.code === "EACCES") {
        warning(`maildir access problem for UID/GID=${identity.uid}/${identity.gid}: ${outcome.dsn.reason}`);
        warning("perhaps you need to create the maildirs in advance");
      }
      return fail(state, { ...outcome.dsn, reason: `maildir delivery failed: ${outcome.dsn.reason}` });
    }
  }
}
