/** Binding resolved recipients to destinations, by the rules of queue.md 21. */
import { type ExtensionRules, splitAddress, splitExtension } from "../../lib/address/split.ts";
import { RESOLVE_FLAG } from "../../lib/ipc/protocols/rewrite.ts";
import { equalFold, lowerAscii } from "../../lib/sys/bytes.ts";
import { retryQueue } from "./defer.ts";
import { type Manager, RETRY_TRANSPORT } from "./manager.ts";
import type { Message } from "./message.ts";
import { Queue } from "./queue.ts";
import type { Recipient } from "./recipient.ts";
import type { SiteStatus } from "./transport.ts";

/** Where trivial-rewrite(8) or a content filter sends a recipient. */
export interface Resolution {
  readonly transport: string;
  readonly nexthop: string;
  readonly recipient: string;
  /** `RESOLVE_FLAG` bits. */
  readonly flags: number;
}

export type Binding =
  | { readonly kind: "bound" }
  /** A notice that nobody wants to have: done without delivery. */
  | { readonly kind: "discarded" }
  /** Neither its destination nor the retry transport can be used. */
  | { readonly kind: "deferred"; readonly cause: SiteStatus };

const BOUND: Binding = { kind: "bound" };

interface Route {
  readonly transport: string;
  readonly nexthop: string;
}

/** A transport and nexthop that override what was resolved; undefined when the resolution stands. */
function override(
  manager: Manager,
  message: Message,
  address: string,
  resolution: Resolution,
): Route | "discard" | undefined {
  const { settings } = manager;
  const retry = (nexthop: string): Route => ({ transport: RETRY_TRANSPORT, nexthop });
  if (address === "") return { transport: settings.errorService, nexthop: "5.1.3 null recipient address" };
  if (message.flags.forceExpire) return retry("4.7.0 message is administratively expired");
  if (
    (resolution.flags & RESOLVE_FLAG.local) !== 0 &&
    equalFold(splitAddress(address).local, settings.doubleBounceSender)
  )
    return "discard";
  if (settings.deferTransports.has(resolution.transport) && !message.flags.flushDeferTransports)
    return retry("4.3.2 deferred transport");
  if (message.probeTooMany) return retry("4.3.2 Too many address verification requests");
  return undefined;
}

/** What the resolver's flags make of its answer. */
function resolved(manager: Manager, resolution: Resolution): Route {
  if ((resolution.flags & RESOLVE_FLAG.fail) !== 0)
    return { transport: RETRY_TRANSPORT, nexthop: "4.3.0 address resolver failure" };
  if ((resolution.flags & RESOLVE_FLAG.error) !== 0)
    return { transport: manager.settings.errorService, nexthop: "5.1.3 bad address syntax" };
  return resolution;
}

export function bindRecipient(
  manager: Manager,
  message: Message,
  recipient: Recipient,
  resolution: Resolution,
  rules: ExtensionRules,
): Binding {
  recipient.address = resolution.recipient;
  const chosen = override(manager, message, recipient.address, resolution);
  if (chosen === "discard") return { kind: "discarded" };
  const route = chosen ?? resolved(manager, resolution);

  const transport = manager.transport(route.transport);
  if (message.flags.flushEach) transport.unthrottle();
  if (transport.dead !== undefined) return bindDead(manager, recipient, transport.dead);

  const queue = Queue.findOrCreate(transport, queueName(manager, recipient, route, rules), route.nexthop);
  if (message.flags.flushEach) queue.revive();
  if (queue.dead !== undefined) return bindDead(manager, recipient, queue.dead);
  recipient.queue = queue;
  return BOUND;
}

function bindDead(manager: Manager, recipient: Recipient, cause: SiteStatus): Binding {
  const queue = retryQueue(manager, cause);
  if (queue === undefined) return { kind: "deferred", cause };
  recipient.queue = queue;
  return BOUND;
}

/** One queue a nexthop; for a transport of one recipient a delivery, one a recipient and nexthop. */
function queueName(manager: Manager, recipient: Recipient, route: Route, rules: ExtensionRules): string {
  const { transport, nexthop } = route;
  const single =
    transport !== manager.settings.errorService &&
    transport !== RETRY_TRANSPORT &&
    manager.transport(transport).settings.recipientLimit === 1;
  if (!single) return lowerAscii(nexthop);
  const { local } = splitAddress(recipient.address);
  const user = splitExtension(local, rules)?.user ?? local;
  return lowerAscii(`${user}@${nexthop}`);
}
