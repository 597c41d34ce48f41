/** One recipient, at the top or out of an expansion: what kind of local destination it is (delivery.md 4.1). */

import { internalToExternal } from "../../lib/address/quote.ts";
import { splitExtension } from "../../lib/address/split.ts";
import { parameter } from "../../lib/config/configuration.ts";
import type { Disposition } from "../../lib/delivery/disposition.ts";
import { dsn } from "../../lib/delivery/status.ts";
import { warning } from "../../lib/log/log.ts";
import { asUser } from "../../lib/privsep/identity.ts";
import { equalFold, pathOf } from "../../lib/sys/bytes.ts";
import { errorText } from "../../lib/sys/errno.ts";
import { statSync } from "../../lib/sys/fs.ts";
import { foldCase } from "../../lib/tables/casefold.ts";
import { deliverAlias } from "./alias.ts";
import { deliverDotForward } from "./dot_forward.ts";
import { forward } from "./forward.ts";
import { deliverMailbox } from "./mailbox.ts";
import { failToOwner } from "./owner.ts";
import { bounce, defer, nested, type State, tooDeep } from "./state.ts";
import { deliverUnknown } from "./unknown.ts";
import { findUser } from "./user.ts";

export async function deliverRecipient(outer: State): Promise<Disposition> {
  const entered = nested(outer);
  const { session, recipient } = entered;
  const { settings } = session;
  const address = recipient.recipient;
  if (tooDeep(entered)) {
    warning(`recipient nesting limit exceeded for ${address}`);
    return bounce(entered, dsn("5.4.6", "recipient nesting limit exceeded"));
  }
  if (session.duplicates.seen(`recipient ${entered.level} ${address}`)) return "finished";
  const state = splitRecipient(entered);
  if (session.deliveredHeaders.has(foldCase(internalToExternal(address), settings.utf8)))
    return failToOwner(state, dsn("5.4.6", `mail forwarding loop for ${address}`));
  if (state.user === "") return bounce(state, dsn("5.1.3", `null username in "${address}"`));
  return deliverSwitch(nested(state));
}

/** Takes the address apart. A leading backslash stays with the user: it asks for the mailbox. */
function splitRecipient(state: State): State {
  const { settings, request } = state.session;
  const address = state.recipient.recipient;
  const at = address.lastIndexOf("@");
  const whole = foldCase(at < 0 ? address : address.slice(0, at), settings.utf8);
  if (at < 0) warning(`no @ in recipient address: ${address}`);
  const split = splitExtension(whole, settings.extensions);
  const illegal = split?.extension.includes("/") === true;
  if (illegal) warning(`${request.queueId}: address with illegal extension: ${whole}`);
  const found = split === undefined || illegal ? undefined : split.extension;
  const user = split?.user ?? whole;
  return {
    ...state,
    local: illegal ? user : whole,
    user,
    domain: at < 0 ? undefined : foldCase(address.slice(at + 1), settings.utf8),
    extension: found?.slice(1),
    delimiter: found?.charAt(0) ?? settings.extensions.delimiters.charAt(0),
    unmatched: found ?? "",
    delivered: state.delivered ?? address,
  };
}

async function deliverSwitch(state: State): Promise<Disposition> {
  const { settings } = state.session;
  if (state.recipient.recipient.startsWith("\\")) return deliverEscaped(state);
  const whole = await deliverAlias({ ...state, unmatched: "" }, state.local);
  if (whole !== undefined) return whole;
  if (state.user !== state.local) {
    const unmatched = settings.propagate.has("alias") ? state.unmatched : "";
    const bare = await deliverAlias({ ...state, unmatched }, state.user);
    if (bare !== undefined) return bare;
  }
  if (state.owner !== undefined && !equalFold(state.owner, state.user)) return forward(state);
  if (state.origin === "include") return forward(state);
  if (parameter("require_home_directory")) {
    const refused = await requireHome(state);
    if (refused !== undefined) return refused;
  }
  return (await deliverDotForward(state)) ?? (await deliverMailbox(state)) ?? (await deliverUnknown(state));
}

/** `\user`: neither aliases nor .forward. */
async function deliverEscaped(state: State): Promise<Disposition> {
  const bare: State = {
    ...state,
    recipient: { ...state.recipient, recipient: state.recipient.recipient.slice(1) },
    local: state.local.slice(1),
    user: state.user.slice(1),
  };
  return (await deliverMailbox(bare)) ?? (await deliverUnknown(bare));
}

async function requireHome(state: State): Promise<Disposition | undefined> {
  const found = findUser(state.session.users, state.user);
  if (found.kind === "error") return defer(state, dsn("4.0.0", "user lookup error"));
  if (found.kind === "absent") return undefined;
  const { user } = found;
  try {
    // the path with a dot at its end takes search permission; access(2) would look at the real user id
    asUser(user, () => statSync(pathOf(`${user.home}/.`)));
    return undefined;
  } catch (error) {
    return defer(state, dsn("4.3.0", `cannot access home directory ${user.home}: ${errorText(error)}`));
  }
}
