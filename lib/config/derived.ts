/** Parameters whose names are made of a transport's or service's name. */
import type { ParameterKind, ParameterName } from "./parameters.ts";

interface DerivedRow {
  readonly kind: Extract<ParameterKind, "int" | "str" | "time">;
  /** Gives the default. */
  readonly base: ParameterName;
  readonly min: number;
  readonly max: number;
}

const int = <B extends ParameterName>(base: B, min = 0, max = 0) =>
  ({ kind: "int", base, min, max }) as const;
const str = <B extends ParameterName>(base: B) => ({ kind: "str", base, min: 1, max: 0 }) as const;
const time = <B extends ParameterName>(base: B, min = 0) => ({ kind: "time", base, min, max: 0 }) as const;

/** NAME + suffix, read by the queue manager for each transport. */
export const TRANSPORT_PARAMETERS = {
  _initial_destination_concurrency: int("initial_destination_concurrency", 1),
  _destination_concurrency_limit: int("default_destination_concurrency_limit"),
  _destination_recipient_limit: int("default_destination_recipient_limit"),
  _destination_concurrency_positive_feedback: str("default_destination_concurrency_positive_feedback"),
  _destination_concurrency_negative_feedback: str("default_destination_concurrency_negative_feedback"),
  _destination_concurrency_failed_cohort_limit: int("default_destination_concurrency_failed_cohort_limit"),
  _destination_rate_delay: time("default_destination_rate_delay"),
  _transport_rate_delay: time("default_transport_rate_delay"),
  _recipient_limit: int("default_recipient_limit"),
  _extra_recipient_limit: int("default_extra_recipient_limit"),
  _recipient_refill_limit: int("default_recipient_refill_limit", 1),
  _recipient_refill_delay: time("default_recipient_refill_delay", 1),
  _delivery_slot_cost: int("default_delivery_slot_cost"),
  _delivery_slot_loan: int("default_delivery_slot_loan"),
  _delivery_slot_discount: int("default_delivery_slot_discount", 0, 100),
  _minimum_delivery_slots: int("default_minimum_delivery_slots"),
} as const satisfies Record<string, DerivedRow>;

/** NAME + suffix, read by the service itself. */
export const SERVICE_PARAMETERS = {
  /** pipe(8), spawn(8) */
  _time_limit: time("command_time_limit", 1),
  /** Of Posthaste: clients that one process of this service serves at once. */
  _client_limit: int("service_client_limit", 1),
} as const satisfies Record<string, DerivedRow>;

export const DERIVED_PARAMETERS = { ...TRANSPORT_PARAMETERS, ...SERVICE_PARAMETERS } as const;

export type TransportSuffix = keyof typeof TRANSPORT_PARAMETERS;
export type ServiceSuffix = keyof typeof SERVICE_PARAMETERS;
export type DerivedSuffix = keyof typeof DERIVED_PARAMETERS;
export type DerivedValue<S extends DerivedSuffix> = (typeof DERIVED_PARAMETERS)[S]["kind"] extends "str"
  ? string
  : number;
