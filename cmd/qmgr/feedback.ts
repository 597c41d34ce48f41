/** Concurrency feedback: how much one success or failure changes a destination's window (queue.md 26.1 to 26.3). */
import { info, warning } from "../../lib/log/log.ts";
import { lowerAscii, trimSpace } from "../../lib/sys/bytes.ts";
import type { Queue } from "./queue.ts";

/** `value` at every window, or `value / window`. */
export interface Feedback {
  readonly perConcurrency: boolean;
  readonly value: number;
}

const NUMBER = /^[0-9]{1,15}(?:\.[0-9]{0,15})?$|^\.[0-9]{1,15}$/;

function readNumber(text: string): number | undefined {
  const trimmed = trimSpace(text);
  return NUMBER.test(trimmed) ? Number(trimmed) : undefined;
}

function readFeedback(text: string): Feedback | undefined {
  const slash = text.indexOf("/");
  const numerator = readNumber(slash < 0 ? text : text.slice(0, slash));
  if (numerator === undefined) return undefined;
  if (slash < 0) return { perConcurrency: false, value: numerator };
  const denominator = trimSpace(text.slice(slash + 1));
  if (lowerAscii(denominator) === "concurrency") return { perConcurrency: true, value: numerator };
  const divisor = readNumber(denominator);
  return divisor === undefined || divisor === 0
    ? undefined
    : { perConcurrency: false, value: numerator / divisor };
}

/** `N`, `N/M` or `N/concurrency`, with a value from 0 to 1. */
export function parseFeedback(parameter: string, text: string): Feedback {
  const feedback = readFeedback(text);
  if (feedback !== undefined && feedback.value >= 0 && feedback.value <= 1) return feedback;
  warning(`${parameter}: ignoring malformed or unreasonable feedback: ${text}`);
  return { perConcurrency: false, value: 1 };
}

export const feedbackAt = (feedback: Feedback, window: number): number =>
  feedback.perConcurrency ? feedback.value / window : feedback.value;

const debugs = (queue: Queue): boolean =>
  queue.transport.settings.feedbackDebug &&
  queue.transport.name !== "retry" &&
  queue.transport.name !== "error";

/** Success on a ready destination. */
export function applySuccess(queue: Queue): void {
  const { settings } = queue.transport;
  const limit = settings.concurrencyLimit;
  queue.failCohorts = 0;
  if (
    (limit === 0 || limit > queue.window) &&
    queue.window < queue.busy.length + settings.initialConcurrency
  ) {
    const value = feedbackAt(settings.positiveFeedback, queue.window);
    if (debugs(queue)) info(`qmgr_queue_unthrottle: feedback ${formatG(value)}`);
    queue.success += value;
    while (queue.success + value / 2 >= 1) {
      queue.window += 1;
      queue.success -= 1;
      queue.failure = 0;
    }
    if (limit > 0 && queue.window > limit) queue.window = limit;
  }
  logFeedback(queue, "unthrottle");
}

/** Failure on a ready destination; true when the destination is to be declared dead. */
export function applyFailure(queue: Queue): boolean {
  const { settings } = queue.transport;
  queue.failCohorts += 1 / queue.window;
  const dies = settings.failedCohortLimit > 0 && queue.failCohorts >= settings.failedCohortLimit;
  if (!dies) {
    const value = feedbackAt(settings.negativeFeedback, queue.window);
    if (debugs(queue)) info(`qmgr_queue_throttle: feedback ${formatG(value)}`);
    queue.failure -= value;
    while (queue.failure - value / 2 < 0) {
      queue.window -= 1;
      queue.success = 0;
      queue.failure += 1;
    }
    if (queue.window < 1) queue.window = 1;
  }
  return dies;
}

/** destination_concurrency_feedback_debug: the state of a destination after a change. */
export function logFeedback(queue: Queue, change: "throttle" | "unthrottle"): void {
  if (!debugs(queue)) return;
  const { settings } = queue.transport;
  info(
    `qmgr_queue_${change}: queue ${queue.name}: limit ${settings.concurrencyLimit} window ${queue.window}` +
      ` success ${formatG(queue.success)} failure ${formatG(queue.failure)} fail_cohorts ${formatG(queue.failCohorts)}`,
  );
}

/** The same setting: what a transport's feedback comes to at the initial window. */
export function logFeedbackSetting(
  transport: string,
  parameter: string,
  feedback: Feedback,
  initial: number,
): void {
  const kind = feedback.perConcurrency ? 1 : 0;
  info(
    `${transport}: ${parameter} feedback type ${kind} value at ${initial}: ${formatG(feedbackAt(feedback, initial))}`,
  );
}

/** printf's %g: six significant digits, no trailing zeros. */
export function formatG(value: number): string {
  if (value === 0) return "0";
  const exponent = Number(value.toExponential(5).split("e")[1]);
  if (exponent >= -4 && exponent < 6) return String(Number(value.toPrecision(6)));
  const [mantissa = "", power = "+0"] = value.toExponential(5).split("e");
  return `${Number(mantissa)}e${power.charAt(0)}${power.slice(1).padStart(2, "0")}`;
}
