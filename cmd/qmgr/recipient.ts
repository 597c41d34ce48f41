/** A recipient in memory, and the order that brings recipients of one destination together (queue.md 21). */
import { lowerAscii } from "../../lib/sys/bytes.ts";
import type { Queue } from "./queue.ts";

export interface Recipient {
  /** Of the R record in the queue file. */
  readonly offset: number;
  readonly dsnOriginal: string;
  readonly notify: number;
  /** As received, before any mapping; may be empty. */
  readonly original: string;
  address: string;
  /** Bound by the resolver. */
  queue: Queue | undefined;
}

/** The text after the last `@`, in lower case; undefined when there is none. */
export function domainOf(address: string): string | undefined {
  const at = address.lastIndexOf("@");
  return at < 0 ? undefined : lowerAscii(address.slice(at + 1));
}

const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

interface Keyed {
  readonly recipient: Recipient;
  readonly transport: string | undefined;
  readonly queue: string;
  readonly domain: string | undefined;
}

const key = (recipient: Recipient): Keyed => ({
  recipient,
  transport: recipient.queue?.transport.name,
  queue: recipient.queue?.name ?? "",
  domain: domainOf(recipient.address),
});

/** Absent keys come last. */
const orderOptional = (a: string | undefined, b: string | undefined): number =>
  a === undefined ? (b === undefined ? 0 : 1) : b === undefined ? -1 : order(a, b);

const compare = (a: Keyed, b: Keyed): number =>
  orderOptional(a.transport, b.transport) ||
  order(a.queue, b.queue) ||
  orderOptional(a.domain, b.domain) ||
  order(a.recipient.address, b.recipient.address);

export function sortRecipients(recipients: ReadonlyArray<Recipient>): Recipient[] {
  if (recipients.length < 2) return [...recipients];
  return recipients
    .map(key)
    .sort(compare)
    .map((keyed) => keyed.recipient);
}
