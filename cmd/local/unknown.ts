/** A recipient that nobody here knows (delivery.md 4.7). */
import { externalToInternal } from "../../lib/address/quote.ts";
import { parameter } from "../../lib/config/configuration.ts";
import type { Disposition } from "../../lib/delivery/disposition.ts";
import { dsn } from "../../lib/delivery/status.ts";
import { warning } from "../../lib/log/log.ts";
import { equalFold } from "../../lib/sys/bytes.ts";
import { expandLocal } from "./expand.ts";
import { deliverAddress } from "./items.ts";
import { choose, pass } from "./mailbox.ts";
import { canonical } from "./owner.ts";
import { bounce, defer, type State, sentTo } from "./state.ts";

export async function deliverUnknown(state: State): Promise<Disposition> {
  const { session, user } = state;
  if (session.duplicates.seen(`deliver_unknown ${state.local}`)) return "finished";
  const transport = await choose(session.settings.fallbackTransports, user, parameter("fallback_transport"));
  if (transport === "error") return defer(state, dsn("4.3.0", "table lookup failure"));
  if (transport !== undefined) return pass(state, transport);
  const unknown = dsn("5.1.1", `unknown user: "${user}"`);
  const relay = parameter("luser_relay");
  if (relay !== "") {
    const expansion = expandLocal(relay, state, undefined);
    if (!expansion.ok) {
      for (const problem of expansion.problems) warning(problem);
      return defer(state, dsn("4.3.5", "mail system configuration error"));
    }
    const address = await canonical(externalToInternal(expansion.value));
    if (equalFold(address, state.recipient.recipient)) return bounce(state, unknown);
    return deliverAddress({ ...state, unmatched: "" }, address);
  }
  if (equalFold(user, "mailer-daemon") || equalFold(user, "postmaster")) {
    warning(`required alias not found: ${user}`);
    return sentTo(state, dsn("2.0.0", "discarded"));
  }
  return bounce(state, unknown);
}
