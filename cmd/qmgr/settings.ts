/** The parameters of the queue manager, read once at start-up, and those of a transport, read when it is first used (queue.md 22). */
import { configuration, parameter } from "../../lib/config/configuration.ts";
import type { TransportSuffix } from "../../lib/config/derived.ts";
import { warning } from "../../lib/log/log.ts";
import { splitAny } from "../../lib/sys/bytes.ts";
import { type Feedback, logFeedbackSetting, parseFeedback } from "./feedback.ts";
import { RETRY_TRANSPORT } from "./manager.ts";

export interface Settings {
  /** False for oqmgr(8): destinations take turns, and no message overtakes another. */
  readonly preemptive: boolean;
  /** Recipients of one message that oqmgr(8) has in memory: it reads the next ones when these are done. */
  readonly portion: number;
  readonly activeLimit: number;
  readonly recipientLimit: number;
  readonly recipientMinimum: number;
  readonly queueRunDelay: number;
  readonly minimalBackoff: number;
  readonly maximalBackoff: number;
  readonly queueLifetime: number;
  readonly bounceLifetime: number;
  readonly transportRetry: number;
  readonly daemonTimeout: number;
  readonly clogWarnTime: number;
  readonly helpfulWarnings: boolean;
  readonly deferTransports: ReadonlySet<string>;
  readonly filterNexthop: string;
  readonly doubleBounceSender: string;
  readonly recipientDelimiter: string;
  readonly myhostname: string;
  readonly verpBounces: boolean;
  /** What is done with goes to the queue `saved`. */
  readonly dontRemove: boolean;
  readonly verpDelimiters: string;
  readonly probeLimit: number;
  readonly confirmDelayCleared: boolean;
  readonly inFlowDelay: number;
  readonly processLimit: number;
  readonly errorService: string;
}

export interface TransportSettings {
  /** 0 is no limit. */
  readonly concurrencyLimit: number;
  readonly initialConcurrency: number;
  /** Recipients per delivery; 0 is no limit. */
  readonly recipientLimit: number;
  readonly positiveFeedback: Feedback;
  readonly negativeFeedback: Feedback;
  readonly failedCohortLimit: number;
  readonly feedbackDebug: boolean;
  readonly destinationRateDelay: number;
  readonly transportRateDelay: number;
  readonly slotCost: number;
  readonly slotLoan: number;
  readonly slotDiscount: number;
  readonly minimumSlots: number;
  /** Recipients in memory for this transport. */
  readonly memoryLimit: number;
  readonly extraMemoryLimit: number;
  readonly refillLimit: number;
  readonly refillDelay: number;
}

export function readSettings(preemptive: boolean): Settings {
  const activeLimit = parameter("qmgr_message_active_limit");
  let recipientLimit = parameter("qmgr_message_recipient_limit");
  if (recipientLimit < activeLimit) {
    warning(
      "qmgr_message_recipient_limit is smaller than qmgr_message_active_limit - adjusting qmgr_message_recipient_limit",
    );
    recipientLimit = activeLimit;
  }
  const queueLifetime = parameter("maximal_queue_lifetime");
  let bounceLifetime = parameter("bounce_queue_lifetime");
  if (bounceLifetime > queueLifetime) {
    warning("bounce_queue_lifetime is larger than maximal_queue_lifetime - adjusting bounce_queue_lifetime");
    bounceLifetime = queueLifetime;
  }
  return {
    preemptive,
    portion: Math.max(1, Math.trunc((recipientLimit * parameter("qmgr_fudge_factor")) / 100)),
    activeLimit,
    recipientLimit,
    recipientMinimum: parameter("qmgr_message_recipient_minimum"),
    queueRunDelay: parameter("queue_run_delay"),
    minimalBackoff: parameter("minimal_backoff_time"),
    maximalBackoff: parameter("maximal_backoff_time"),
    queueLifetime,
    bounceLifetime,
    transportRetry: parameter("transport_retry_time"),
    daemonTimeout: parameter("daemon_timeout"),
    clogWarnTime: parameter("qmgr_clog_warn_time"),
    helpfulWarnings: parameter("helpful_warnings"),
    deferTransports: new Set(splitAny(parameter("defer_transports"), ", \t\r\n")),
    filterNexthop: parameter("default_filter_nexthop"),
    doubleBounceSender: parameter("double_bounce_sender"),
    recipientDelimiter: parameter("recipient_delimiter"),
    myhostname: parameter("myhostname"),
    dontRemove: parameter("dont_remove") !== 0,
    verpBounces: !parameter("disable_verp_bounces"),
    verpDelimiters: parameter("verp_delimiter_filter"),
    probeLimit: parameter("address_verify_pending_request_limit"),
    confirmDelayCleared: parameter("confirm_delay_cleared"),
    inFlowDelay: parameter("in_flow_delay"),
    processLimit: parameter("default_process_limit"),
    errorService: parameter("error_service_name"),
  };
}

/** Reads `TRANSPORT_xxx` parameters, which default to their `default_xxx`. */
export function readTransportSettings(transport: string): TransportSettings {
  const table = configuration();
  const number = (suffix: TransportSuffix): number => Number(table.transportParameter(transport, suffix));
  const debug = parameter("destination_concurrency_feedback_debug");
  const feedback = (suffix: TransportSuffix): Feedback => {
    const own = `${transport}${suffix}`;
    const name = table.lookup(own) === undefined ? `default${suffix}` : own;
    const value = parseFeedback(name, String(table.transportParameter(transport, suffix)));
    if (debug && transport !== RETRY_TRANSPORT && transport !== "error")
      logFeedbackSetting(transport, name, value, parameter("initial_destination_concurrency"));
    return value;
  };
  const destinationRateDelay = number("_destination_rate_delay");
  const concurrencyLimit = destinationRateDelay > 0 ? 1 : number("_destination_concurrency_limit");
  const initial = number("_initial_destination_concurrency");
  return {
    concurrencyLimit,
    initialConcurrency: concurrencyLimit > 0 ? Math.min(initial, concurrencyLimit) : initial,
    recipientLimit: number("_destination_recipient_limit"),
    positiveFeedback: feedback("_destination_concurrency_positive_feedback"),
    negativeFeedback: feedback("_destination_concurrency_negative_feedback"),
    failedCohortLimit: number("_destination_concurrency_failed_cohort_limit"),
    feedbackDebug: debug,
    destinationRateDelay,
    transportRateDelay: number("_transport_rate_delay"),
    slotCost: number("_delivery_slot_cost"),
    slotLoan: number("_delivery_slot_loan"),
    slotDiscount: number("_delivery_slot_discount"),
    minimumSlots: number("_minimum_delivery_slots"),
    memoryLimit: number("_recipient_limit"),
    extraMemoryLimit: number("_extra_recipient_limit"),
    refillLimit: number("_recipient_refill_limit"),
    refillDelay: number("_recipient_refill_delay"),
  };
}
