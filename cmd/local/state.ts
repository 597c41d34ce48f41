/** Where the delivery of one recipient stands; copied and changed on the way down through aliases, files and addresses. */

import type { CopySource } from "../../lib/delivery/copy.ts";
import {
  type Attempt,
  bounced,
  type Disposition,
  deferred,
  failed,
  sent,
} from "../../lib/delivery/disposition.ts";
import type { DuplicateFilter } from "../../lib/delivery/duplicate_filter.ts";
import type { DeliveryRequest, Recipient } from "../../lib/delivery/request.ts";
import type { Dsn } from "../../lib/delivery/status.ts";
import { NOTIFY } from "../../lib/ipc/protocols/delivery.ts";
import type { User } from "../../lib/sys/identity.ts";
import type { TimeOfDay } from "../../lib/sys/process.ts";
import type { Forwards } from "./forward.ts";
import type { LocalSettings, Origin } from "./settings.ts";
import type { KnownUsers } from "./user.ts";

/** What stays the same for one top-level recipient. */
export interface Session {
  readonly request: DeliveryRequest;
  /** Name in master.cf: relay= of the log, and the transport that is ours. */
  readonly service: string;
  readonly settings: LocalSettings;
  /** Folded Delivered-To: addresses of the message. */
  readonly deliveredHeaders: ReadonlySet<string>;
  readonly duplicates: DuplicateFilter;
  readonly forwards: Forwards;
  readonly startTime: TimeOfDay;
  readonly users: KnownUsers;
  /** Outcomes so far: an expansion that leads to none must not pass in silence. */
  outcomes: number;
  /** An :include: file was met a second time. */
  includeLoop: boolean;
  /** Ways back to the top: addresses lead to recipients, and files to addresses. */
  readonly deliverRecipient: (state: State) => Promise<Disposition>;
  readonly deliverItems: (state: State, text: string) => Promise<ItemsResult>;
}

export interface ItemsResult {
  readonly disposition: Disposition;
  /** Items found. */
  readonly count: number;
}

export interface State {
  readonly session: Session;
  readonly level: number;
  readonly recipient: Recipient;
  readonly sender: string;
  readonly envelopeId: string;
  readonly retFlags: number;
  /** Local part, folded, and its pieces. */
  readonly local: string;
  readonly user: string;
  readonly domain: string | undefined;
  /** Without its delimiter; undefined when there is none. */
  readonly extension: string | undefined;
  readonly delimiter: string;
  /** Extension with its delimiter, to be put into addresses that come of this one; empty when not. */
  readonly unmatched: string;
  /** Delivered-To: address. */
  readonly delivered: string | undefined;
  /** Who is responsible for the addresses of an expansion. */
  readonly owner: string | undefined;
  readonly origin: Origin | undefined;
  /** The alias or user whose expansion this is. */
  readonly expandedFrom: string | undefined;
  /** Whose rights commands and files get; undefined: nobody's in particular. */
  readonly rights: User | undefined;
}

/** Nesting of recipients, aliases and files beyond which something is circular. */
export const NESTING_LIMIT = 100;
export const nested = (state: State): State => ({ ...state, level: state.level + 1 });
export const tooDeep = (state: State): boolean => state.level > NESTING_LIMIT;

export const attemptOf = (state: State): Attempt => {
  const { session } = state;
  return {
    message: session.request,
    recipient: state.recipient,
    relay: session.service,
    filter: session.settings.filter,
  };
};

/** Dispositions of the current recipient. */
export async function sentTo(state: State, status: Dsn): Promise<Disposition> {
  state.session.outcomes++;
  return sent(attemptOf(state), status);
}
export function bounce(state: State, status: Dsn): Promise<Disposition> {
  state.session.outcomes++;
  return bounced(attemptOf(state), status);
}
export function defer(state: State, status: Dsn): Promise<Disposition> {
  state.session.outcomes++;
  return deferred(attemptOf(state), status);
}
export function fail(state: State, status: Dsn): Promise<Disposition> {
  state.session.outcomes++;
  return failed(attemptOf(state), status);
}

/** The recipient without its wish to hear of success: the expansion itself is reported. */
export function withoutSuccess(recipient: Recipient): Recipient {
  if ((recipient.notifyFlags & NOTIFY.success) === 0) return recipient;
  const rest = recipient.notifyFlags & ~NOTIFY.success;
  return { ...recipient, notifyFlags: rest === 0 ? NOTIFY.never : rest };
}

/** The message to be copied for this recipient. `originalTo`: enable_original_recipient. */
export const copySource = (state: State, originalTo: boolean): CopySource => ({
  fd: state.session.request.fd,
  path: state.session.request.path,
  offset: state.session.request.offset,
  size: state.session.request.size,
  sender: state.sender,
  originalRecipient: originalTo ? state.recipient.originalRecipient : "",
  delivered: state.delivered ?? state.recipient.recipient,
});
