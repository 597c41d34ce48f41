/** local(8): delivers to the users of this system, with their rights: aliases, .forward files, mailboxes, files and commands. */
import { parameter } from "../../lib/config/configuration.ts";
import type { Service } from "../../lib/daemon/service.ts";
import { singleServer } from "../../lib/daemon/single.ts";
import { combine } from "../../lib/delivery/agent.ts";
import { deliveredAddresses } from "../../lib/delivery/delivered_headers.ts";
import type { Disposition } from "../../lib/delivery/disposition.ts";
import { DuplicateFilter } from "../../lib/delivery/duplicate_filter.ts";
import {
  type DeliveryRequest,
  type DeliveryResult,
  markRecipientDone,
  type Recipient,
  serveDelivery,
} from "../../lib/delivery/request.ts";
import { dsn, marksDone } from "../../lib/delivery/status.ts";
import { panic, warning } from "../../lib/log/log.ts";
import { NotPermitted } from "../../lib/privsep/identity.ts";
import { timeOfDay } from "../../lib/sys/process.ts";
import { changedTable, refreshTables } from "../../lib/tables/open.ts";
import { Forwards } from "./forward.ts";
import { deliverItems } from "./items.ts";
import { deliverRecipient } from "./recipient.ts";
import { type LocalSettings, openSettings } from "./settings.ts";
import { bounce, defer, type Session, type State } from "./state.ts";

let settings: LocalSettings | undefined;

export const main = singleServer({
  profile: { files: "write", executes: true },
  privileged: true,
  parameters: [
    "alias_maps",
    "mailbox_delivery_lock",
    "forward_path",
    "mail_spool_directory",
    "default_privs",
  ],
  async preJail() {
    settings = await openSettings();
  },
  changedTable,
  refreshTables,
  keeps: true,
  async serve(client, service) {
    const ready = settings ?? panic("local: not initialized");
    await serveDelivery(client, (request) => deliver(request, service, ready));
  },
});

async function deliver(
  request: DeliveryRequest,
  service: Service,
  current: LocalSettings,
): Promise<DeliveryResult> {
  const deliveredHeaders = deliveredAddresses(request, current.utf8);
  const dispositions: Disposition[] = [];
  for (const recipient of request.recipients) {
    const disposition = await deliverTop(request, recipient, service, current, deliveredHeaders);
    if (disposition === "finished" && marksDone(request.flags)) markRecipientDone(request, recipient);
    dispositions.push(disposition);
  }
  return { disposition: combine(dispositions) };
}

/** One recipient of the request with everything that it expands to. */
async function deliverTop(
  request: DeliveryRequest,
  recipient: Recipient,
  service: Service,
  current: LocalSettings,
  deliveredHeaders: ReadonlySet<string>,
): Promise<Disposition> {
  const session: Session = {
    request,
    service: service.name,
    settings: current,
    deliveredHeaders,
    duplicates: new DuplicateFilter(parameter("duplicate_filter_limit"), current.utf8),
    forwards: new Forwards(request, current.prependDelivered.has("forward"), current.utf8),
    startTime: timeOfDay(),
    users: new Map(),
    outcomes: 0,
    includeLoop: false,
    deliverRecipient,
    deliverItems,
  };
  const top: State = {
    session,
    level: 0,
    recipient,
    sender: request.sender,
    envelopeId: request.envelopeId,
    retFlags: request.retFlags,
    local: "",
    user: "",
    domain: undefined,
    extension: undefined,
    delimiter: "",
    unmatched: "",
    delivered: undefined,
    owner: undefined,
    origin: undefined,
    expandedFrom: undefined,
    rights: undefined,
  };
  let disposition: Disposition;
  try {
    disposition = await deliverRecipient(top);
    if (session.outcomes === 0 && disposition === "finished") disposition = await expandedToNothing(top);
  } catch (error) {
    if (!(error instanceof NotPermitted)) {
      await session.forwards.finish(top, "retry");
      throw error;
    }
    warning(error.message);
    disposition = await defer(top, dsn("4.3.5", "mail system configuration error"));
  }
  return session.forwards.finish(top, disposition);
}

/** No mail is lost without a word: empty :include: files wait for somebody to fill them, those that include each other are a loop. */
async function expandedToNothing(top: State): Promise<Disposition> {
  const address = top.recipient.recipient;
  if (top.session.includeLoop) return bounce(top, dsn("5.4.6", `mail forwarding loop for ${address}`));
  warning(`no recipient in expansion of ${address}`);
  return defer(top, dsn("4.3.0", "alias database unavailable"));
}
