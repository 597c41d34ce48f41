/** Delivery status lines (logging.md 8). */
import { defineEvent } from "../event.ts";

const optional = (text: string, value: string | number | undefined): string =>
  value === undefined ? "" : `${text}${value}`;

export interface DeliveryStatusFields {
  readonly queueId: string;
  readonly to: string;
  readonly origTo?: string | undefined;
  readonly relay: string;
  readonly connUse?: number | undefined;
  readonly delay: string;
  readonly delays: string;
  readonly tls?: string | undefined;
  readonly dsn: string;
  readonly status: string;
  readonly reason: string;
  readonly [name: string]: string | number | undefined;
}

/** One recipient and delivery attempt. */
export const deliveryStatus = defineEvent<DeliveryStatusFields>(
  "delivery_status",
  "info",
  (f) =>
    `${f.queueId}: to=<${f.to}>${f.origTo === undefined ? "" : `, orig_to=<${f.origTo}>`}, relay=${f.relay}${optional(", conn_use=", f.connUse)}, delay=${f.delay}, delays=${f.delays}${optional(", tls=", f.tls)}, dsn=${f.dsn}, status=${f.status} (${f.reason})`,
);

/** local(8) hands a recipient to another transport. */
export const passingToTransport = defineEvent<{ queueId: string; recipient: string; transport: string }>(
  "passing_to_transport",
  "info",
  (f) => `${f.queueId}: passing <${f.recipient}> to transport=${f.transport}`,
);
