/** What is kept of one address: `STATUS:PROBED:UPDATED:TEXT`, times in seconds, 0 for never (delivery.md 18). */
import { parameter } from "../../lib/config/configuration.ts";
import { RECIPIENT_STATUS } from "../../lib/ipc/protocols/verify.ts";
import { readDecimal } from "../../lib/sys/numbers.ts";

export interface Entry {
  /** `RECIPIENT_STATUS` */
  readonly status: number;
  /** When a probe was sent whose answer has not come. */
  readonly probed: number;
  /** When the status became known. */
  readonly updated: number;
  readonly text: string;
}

/** Nothing is known. */
export const NO_ENTRY: Entry = {
  status: RECIPIENT_STATUS.todo,
  probed: 0,
  updated: 0,
  text: "Address verification in progress",
};

/** How long the answer to a probe is waited for. */
const PROBE_SECONDS = 1000;

export const formatEntry = ({ status, probed, updated, text }: Entry): string =>
  `${status}:${probed}:${updated}:${text}`;

/** Undefined for a value that is no entry. */
export function parseEntry(value: string): Entry | undefined {
  const [statusText = "", probedText = "", updatedText = "", ...rest] = value.split(":");
  if (rest.length === 0) return undefined;
  const status = readDecimal(statusText, RECIPIENT_STATUS.todo);
  const probed = readDecimal(probedText, Number.MAX_SAFE_INTEGER);
  const updated = readDecimal(updatedText, Number.MAX_SAFE_INTEGER);
  if (status === undefined || probed === undefined || updated === undefined) return undefined;
  return { status, probed, updated, text: rest.join(":") };
}

const isGood = (entry: Entry): boolean => entry.status === RECIPIENT_STATUS.ok;

/** An answer may still come. */
export const isProbing = (entry: Entry, now: number): boolean => now - entry.probed <= PROBE_SECONDS;

/** The entry says nothing any more. */
export const isExpired = (entry: Entry, now: number): boolean =>
  !isProbing(entry, now) &&
  entry.updated +
    parameter(isGood(entry) ? "address_verify_positive_expire_time" : "address_verify_negative_expire_time") <
    now;

/** It is time to ask again. */
export const needsProbe = (entry: Entry, now: number): boolean =>
  !isProbing(entry, now) &&
  entry.updated +
    parameter(
      isGood(entry) ? "address_verify_positive_refresh_time" : "address_verify_negative_refresh_time",
    ) <
    now;
