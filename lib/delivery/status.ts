/** Delivery status: what became of one recipient, in the terms of RFC 3464 and RFC 3463. */
import { DELIVERY_FLAG, DELIVERY_PROBE_MASK, type Dsn } from "../ipc/protocols/delivery.ts";
import { statusLength } from "../smtp/dsn.ts";
import { isSpaceCode } from "../sys/bytes.ts";

/** Status, action, diagnostics and reason of an outcome. Empty strings stand for "not given"; an empty action leaves it to the disposition. */
export type { Dsn };

export type DsnDetails = Partial<Omit<Dsn, "status" | "reason">>;

/** A status with its reason; what is not given is empty. */
export const dsn = (status: string, reason: string, details: DsnDetails = {}): Dsn => ({
  status,
  reason,
  action: details.action ?? "",
  diagnosticType: details.diagnosticType ?? "",
  diagnosticText: details.diagnosticText ?? "",
  mtaType: details.mtaType ?? "",
  mtaName: details.mtaName ?? "",
});

/** The final answer to the queue manager when the destination as a whole is not to blame. */
export const NO_DSN: Dsn = dsn("", "");

/** A request that must stop before the side effect. */
export const isTraceOnly = (flags: number): boolean => (flags & DELIVERY_PROBE_MASK) !== 0;
/** The queue manager wants finished recipients marked. */
export const marksDone = (flags: number): boolean => (flags & DELIVERY_FLAG.markDone) !== 0;

export interface SplitDsn {
  readonly status: string;
  readonly text: string;
}

/** Splits "D.S.N text" when it begins with a valid code; undefined otherwise. */
export function takeDsn(text: string): SplitDsn | undefined {
  let start = 0;
  while (start < text.length && isSpaceCode(text.charCodeAt(start))) start++;
  const body = text.slice(start);
  const length = statusLength(body);
  if (length === 0) return undefined;
  let rest = length;
  while (rest < body.length && isSpaceCode(body.charCodeAt(rest))) rest++;
  return { status: body.slice(0, length), text: body.slice(rest) };
}

/** Splits "D.S.N text"; without a valid code the default applies and the whole text is the reason. */
export const splitDsn = (text: string, defaultStatus: string): SplitDsn =>
  takeDsn(text) ?? { status: defaultStatus, text };
