/** The aliases, and the workaround for lists: failures of a list's own command or file go to owner-LIST (delivery.md 4.2, 4.9). */
import { externalToInternal, internalToExternal, quoteLocalPart } from "../../lib/address/quote.ts";
import { splitAddress, splitExtension } from "../../lib/address/split.ts";
import { parameter } from "../../lib/config/configuration.ts";
import { bouncedTo, type Disposition } from "../../lib/delivery/disposition.ts";
import type { Dsn } from "../../lib/delivery/status.ts";
import { rewriteAddress } from "../../lib/ipc/clients/rewrite.ts";
import { warning } from "../../lib/log/log.ts";
import type { Table } from "../../lib/tables/table.ts";
import type { LocalSettings } from "./settings.ts";
import { attemptOf, fail, type State } from "./state.ts";

export type AliasLookup =
  | { readonly kind: "found"; readonly value: string; readonly table: Table }
  | { readonly kind: "absent" }
  | { readonly kind: "error" };

/** Looks a name up in all alias tables: quoted where RFC 5322 wants it, then as it is. */
export async function lookupAlias(settings: LocalSettings, name: string): Promise<AliasLookup> {
  const quoted = quoteLocalPart(name);
  for (const table of settings.aliases.tables) {
    for (const key of quoted === name ? [name] : [quoted, name]) {
      const result = await table.lookup(key);
      if (result.kind === "found") return { kind: "found", value: result.value, table };
      if (result.kind === "error") {
        warning(`${table.name}: lookup of '${name}' failed`);
        return { kind: "error" };
      }
    }
  }
  return { kind: "absent" };
}

/** An internal-form address, completed as local submissions are. */
export const canonical = async (address: string): Promise<string> =>
  externalToInternal(await rewriteAddress("local", internalToExternal(address)));

/** Bounces or defers; a permanent failure is told to the list's owner, when the recipient has one. */
export async function failToOwner(state: State, status: Dsn): Promise<Disposition> {
  const owner = status.status.startsWith("4") ? undefined : await ownerOf(state);
  if (owner === undefined) return fail(state, status);
  state.session.outcomes++;
  const { request } = state.session;
  return bouncedTo(
    attemptOf(state),
    {
      queueName: request.queueName,
      queueId: request.queueId,
      encoding: request.encoding,
      sendopts: request.sendopts,
      sender: owner,
      envelopeId: state.envelopeId,
      retFlags: state.retFlags,
    },
    status,
  );
}

/** The owner of the list that the recipient names, by the names as they were written. */
async function ownerOf(state: State): Promise<string | undefined> {
  if (!parameter("owner_request_special")) return undefined;
  const { settings } = state.session;
  const { local } = splitAddress(state.recipient.recipient);
  const user = state.user === state.local ? undefined : splitExtension(local, settings.extensions)?.user;
  for (const name of user === undefined || user === "" ? [local] : [local, user]) {
    const found = await lookupAlias(settings, `owner-${name}`);
    if (found.kind === "found")
      return canonical(parameter("expand_owner_alias") ? found.value : `owner-${name}`);
  }
  return undefined;
}
