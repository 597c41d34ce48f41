/** The items of an expansion: addresses, files, commands and :include: files (delivery.md 4.3). */
import { type AddressNode, addressNodes, parseAddresses, singleAddress } from "../../lib/address/parser.ts";
import { internalToExternal } from "../../lib/address/quote.ts";
import { insertExtension } from "../../lib/address/split.ts";
import { addressAsWritten, addressInternal } from "../../lib/address/unparser.ts";
import type { Disposition } from "../../lib/delivery/disposition.ts";
import { dsn } from "../../lib/delivery/status.ts";
import { resolveAddress, rewriteAddress } from "../../lib/ipc/clients/rewrite.ts";
import { RESOLVE_FLAG } from "../../lib/ipc/protocols/rewrite.ts";
import { warning } from "../../lib/log/log.ts";
import { equalFold } from "../../lib/sys/bytes.ts";
import { deliverCommand } from "./command.ts";
import { deliverFile } from "./file.ts";
import { forward } from "./forward.ts";
import { deliverInclude } from "./include.ts";
import { bounce, defer, type ItemsResult, nested, type State } from "./state.ts";

const CONFIGURATION_ERROR = dsn("5.3.5", "mail system configuration error");
const INCLUDE = ":include:";

/** Delivers to each address of a list (external form); a failing one does not keep the others from their mail. */
export async function deliverItems(state: State, text: string): Promise<ItemsResult> {
  let disposition: Disposition = "finished";
  let count = 0;
  for (const node of addressNodes(parseAddresses(text))) {
    count++;
    if ((await deliverItem(state, node)) === "retry") disposition = "retry";
  }
  return { disposition, count };
}

async function deliverItem(state: State, node: AddressNode): Promise<Disposition> {
  const text = addressInternal(node);
  // names of files and commands end at a NUL, as everywhere in the system
  const end = text.indexOf("\0");
  const item = end < 0 ? text : text.slice(0, end);
  const { settings } = state.session;
  const origin = state.origin ?? "";
  if (item.startsWith("/")) return deliverFile(state, item, settings.fileOrigins.has(origin));
  if (item.startsWith("~")) return deliverHome(state, item, settings.fileOrigins.has(origin));
  if (item.startsWith("|")) {
    if (settings.commandOrigins.has(origin)) return deliverCommand(state, item.slice(1));
    return bounce(state, dsn("5.7.1", "mail to command is restricted"));
  }
  if (equalFold(item.slice(0, INCLUDE.length), INCLUDE))
    return deliverInclude(state, item.slice(INCLUDE.length));
  const written = await rewriteAddress("local", addressAsWritten(node));
  return deliverAddress(state, addressInternal(singleAddress(written)));
}

/** `~/file`. */
function deliverHome(state: State, item: string, allowed: boolean): Promise<Disposition> {
  if (!item.startsWith("~/")) {
    warning(`bad home directory syntax for: ${item}`);
    return bounce(state, CONFIGURATION_ERROR);
  }
  if (state.rights === undefined || state.rights.home === "") {
    warning(`unknown home directory for: ${item}`);
    return bounce(state, CONFIGURATION_ERROR);
  }
  return deliverFile(state, state.rights.home + item.slice(1), allowed);
}

/** An internal-form, complete address: ours to deliver, or to be sent on. */
export async function deliverAddress(outer: State, address: string): Promise<Disposition> {
  const state = nested(outer);
  const resolved = await resolveAddress(state.sender, address);
  if ((resolved.flags & RESOLVE_FLAG.fail) !== 0)
    return defer(state, dsn("4.3.0", "address resolver failure"));
  if ((resolved.flags & RESOLVE_FLAG.error) !== 0)
    return bounce(state, dsn("5.1.3", `bad recipient address syntax: ${internalToExternal(address)}`));
  const recipient =
    state.unmatched === "" ? resolved.recipient : insertExtension(resolved.recipient, state.unmatched);
  const next: State = { ...state, recipient: { ...state.recipient, recipient } };
  return resolved.transport === state.session.service ? state.session.deliverRecipient(next) : forward(next);
}
