/** The mailbox of a virtual recipient: its path and owner by tables, and the delivery into it (delivery.md 5). */
import { lookupAddress } from "../../lib/address/lookup.ts";
import { parameter } from "../../lib/config/configuration.ts";
import { type CopySource, MBOX } from "../../lib/delivery/copy.ts";
import {
  type Attempt,
  bounced,
  type Disposition,
  deferred,
  failed,
  sent,
} from "../../lib/delivery/disposition.ts";
import { deliverMaildir } from "../../lib/delivery/maildir.ts";
import { deliverMbox } from "../../lib/delivery/mbox.ts";
import { type DeliveryRequest, markCorrupt, type Recipient } from "../../lib/delivery/request.ts";
import { type Dsn, dsn, isTraceOnly } from "../../lib/delivery/status.ts";
import { warning } from "../../lib/log/log.ts";
import { asUser, type Identity, NotPermitted } from "../../lib/privsep/identity.ts";
import { readDecimal } from "../../lib/sys/numbers.ts";
import { timeOfDay } from "../../lib/sys/process.ts";
import { foldCase } from "../../lib/tables/casefold.ts";
import type { TableList } from "../../lib/tables/list.ts";
import type { VirtualSettings } from "./settings.ts";

const CONFIGURATION_ERROR = dsn("4.3.5", "mail system configuration error");
const ALL_ONES = 0xffffffff;

interface Delivery {
  readonly request: DeliveryRequest;
  readonly recipient: Recipient;
  readonly settings: VirtualSettings;
  readonly attempt: Attempt;
  /** Folded, the key of the tables. */
  readonly address: string;
}

export async function deliverVirtual(
  request: DeliveryRequest,
  recipient: Recipient,
  service: string,
  settings: VirtualSettings,
): Promise<Disposition> {
  const delivery: Delivery = {
    request,
    recipient,
    settings,
    attempt: { message: request, recipient, relay: service, filter: settings.filter },
    address: foldCase(recipient.recipient, settings.utf8),
  };
  try {
    return await deliver(delivery);
  } catch (error) {
    if (!(error instanceof NotPermitted)) throw error;
    warning(error.message);
    return deferred(delivery.attempt, CONFIGURATION_ERROR);
  }
}

async function deliver(delivery: Delivery): Promise<Disposition> {
  const { settings, attempt, address } = delivery;
  const found = await lookupAddress(settings.mailboxes, address, settings.rules, "both");
  if (found.kind === "error") {
    warning(`table virtual_mailbox_maps: lookup ${address}: ${found.reason ?? "Application error"}`);
    return deferred(attempt, CONFIGURATION_ERROR);
  }
  if (found.kind === "absent") return bounced(attempt, dsn("5.1.1", `unknown user: "${address}"`));
  const below = `/${found.value}`;
  if (below.includes("/../") || below.includes("\0")) {
    warning(`recipient ${address}: bad mailbox path ${found.value} in virtual_mailbox_maps`);
    return deferred(attempt, CONFIGURATION_ERROR);
  }
  const uid = await ownerId(delivery, settings.uids, "uid", parameter("virtual_minimum_uid"));
  if (uid === undefined) return deferred(attempt, CONFIGURATION_ERROR);
  const gid = await ownerId(delivery, settings.gids, "gid", 1);
  if (gid === undefined) return deferred(attempt, CONFIGURATION_ERROR);
  const path = settings.base + below;
  return path.endsWith("/") ? maildir(delivery, path, { uid, gid }) : mbox(delivery, path, { uid, gid });
}

/** An id as a table gives it: a decimal number from `least` on, and not the one that means none. */
export function usableId(text: string, least: number): number | undefined {
  const id = readDecimal(text, ALL_ONES);
  return id !== undefined && id >= least && id !== ALL_ONES ? id : undefined;
}

/** A user or group id by table; undefined, with a warning, when there is none that may be used. */
async function ownerId(
  delivery: Delivery,
  table: TableList,
  what: "uid" | "gid",
  least: number,
): Promise<number | undefined> {
  const { address, settings } = delivery;
  const found = await lookupAddress(table, address, settings.rules, "both");
  switch (found.kind) {
    case "error":
    case "absent":
      warning(`recipient ${address}: not found in ${table.title}`);
      return undefined;
    case "found": {
      const id = usableId(found.value, least);
      if (id !== undefined) return id;
      warning(`recipient ${address}: bad ${what} ${found.value} in ${table.title}`);
      return undefined;
    }
  }
}

const copySource = ({ request, recipient }: Delivery): CopySource => ({
  fd: request.fd,
  path: request.path,
  offset: request.offset,
  size: request.size,
  sender: request.sender,
  originalRecipient: parameter("enable_original_recipient") ? recipient.originalRecipient : "",
  delivered: recipient.recipient,
});

const corrupt = (delivery: Delivery, recordType: number): Disposition => {
  markCorrupt(delivery.request, recordType);
  return "retry";
};

async function maildir(delivery: Delivery, directory: string, identity: Identity): Promise<Disposition> {
  const { attempt, request } = delivery;
  if (isTraceOnly(request.flags)) return sent(attempt, dsn("2.0.0", "delivers to maildir"));
  const outcome = await deliverMaildir(
    copySource(delivery),
    directory,
    (work) => asUser(identity, work),
    "4.2.0",
    timeOfDay(),
  );
  switch (outcome.kind) {
    case "delivered":
      return sent(attempt, dsn("2.0.0", "delivered to maildir"));
    case "corrupt":
      return corrupt(delivery, outcome.recordType);
    case "failed": {
      if (outcome.code === "EACCES") {
        warning(`maildir access problem for UID/GID=${identity.uid}/${identity.gid}: ${outcome.dsn.reason}`);
        warning("perhaps you need to create the maildirs in advance");
      }
      return failed(attempt, { ...outcome.dsn, reason: `maildir delivery failed: ${outcome.dsn.reason}` });
    }
  }
}

async function mbox(delivery: Delivery, path: string, identity: Identity): Promise<Disposition> {
  const { attempt, request, settings, address } = delivery;
  if (isTraceOnly(request.flags)) return sent(attempt, dsn("2.0.0", "delivers to mailbox"));
  const outcome = await deliverMbox({
    source: copySource(delivery),
    options: MBOX,
    open: {
      path,
      locks: settings.locks,
      dotlockOptional: false,
      defaultStatus: "4.2.0",
      attempts: parameter("deliver_lock_attempts"),
      delay: parameter("deliver_lock_delay"),
      staleTime: parameter("stale_lock_time"),
    },
    spool: identity,
    recipient: identity,
    inspect: ({ stat }): Dsn | undefined => {
      if (!stat.isFile()) {
        warning(`recipient ${address}: destination ${path} is not a regular file`);
        return CONFIGURATION_ERROR;
      }
      if (stat.uid === identity.uid || !parameter("strict_mailbox_ownership")) return undefined;
      warning('specify "strict_mailbox_ownership = no" to ignore mailbox ownership mismatch');
      return dsn("4.2.0", `destination ${path} is not owned by recipient`);
    },
    prefix: `delivery failed to mailbox ${path}: `,
    now: timeOfDay(),
  });
  switch (outcome.kind) {
    case "delivered":
      return sent(attempt, dsn("2.0.0", "delivered to mailbox"));
    case "corrupt":
      return corrupt(delivery, outcome.recordType);
    case "failed":
      return failed(attempt, outcome.dsn);
  }
}
