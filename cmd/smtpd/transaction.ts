/** One mail transaction: everything between an accepted MAIL FROM and its end. Dropping the object resets all of it. */
import type { MessageStream } from "./message_stream.ts";
import type { ProxyFilter } from "./proxy_filter.ts";

/** Where a message goes: into the queue, or to the filter before it. */
export type MessageTarget = MessageStream | ProxyFilter;

/** What access tables asked for, access(5). */
export interface AccessActions {
  filter: string | undefined;
  redirect: string | undefined;
  readonly bcc: string[];
  readonly prepend: string[];
  hold: boolean;
  discard: boolean;
}

export const noActions = (): AccessActions => ({
  filter: undefined,
  redirect: undefined,
  bcc: [],
  prepend: [],
  hold: false,
  discard: false,
});

/** Distinguishes messages for policy servers. */
export function instanceOf({ arrival, number }: Transaction): string {
  const hex = (value: number): string => value.toString(16);
  return `${hex(process.pid)}.${hex(arrival.seconds)}.${hex(arrival.microseconds)}.${hex(number)}`;
}

export interface ArrivalTime {
  readonly seconds: number;
  readonly microseconds: number;
}

export interface MailParameters {
  encoding: "7bit" | "8bit" | undefined;
  smtputf8: boolean;
  ret: number | undefined;
  envid: string | undefined;
  verp: string | undefined;
}

export interface Transaction {
  /** Internal form, empty for the null sender. */
  readonly sender: string;
  /** The MAIL command as it came, for a filter. */
  readonly command: string;
  readonly parameters: Readonly<MailParameters>;
  readonly arrival: ArrivalTime;
  /** In the order of the session's messages, from 0. */
  readonly number: number;
  /** Known when MAIL is accepted. */
  rewriteContext: "local" | "remote";
  readonly actions: AccessActions;
  /** Accepted recipients so far, and the first of them. */
  recipientCount: number;
  firstRecipient: string | undefined;
  /** Open from the first accepted recipient on. */
  stream: MessageTarget | undefined;
}
