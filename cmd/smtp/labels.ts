/** Names of kept connections: all that must be equal for one delivery to use another's connection (delivery.md 12.2). */
import { SENDOPT } from "../../lib/ipc/protocols/delivery.ts";
import { toBytes } from "../../lib/sys/bytes.ts";
import { requiresUtf8 } from "./hello.ts";
import type { Server } from "./servers.ts";
import type { TlsLevel } from "./settings.ts";

export interface LabelContext {
  readonly service: string;
  readonly nexthop: string;
  readonly tlsLevel: TlsLevel;
  readonly sendopts: number;
}

/** As labels and properties have them. */
export const LEVEL_NUMBER: Readonly<Record<TlsLevel, number>> = { none: 0, may: 1 };

/** One field: an empty value is `*`, one that could be mistaken is base64. */
function field(value: string): string {
  if (value === "") return "*\n";
  return `${/[\n*]/.test(value) ? toBytes(value).toString("base64") : value}\n`;
}

const tail = (context: LabelContext): string =>
  field(String(LEVEL_NUMBER[context.tlsLevel])) +
  field(String((context.sendopts & SENDOPT.requireTls) !== 0 ? 1 : 0)) +
  field(requiresUtf8(context.sendopts) ? "1" : "0");

export const destinationLabel = (context: LabelContext): string =>
  field(context.service) + field(context.nexthop) + tail(context);

export const endpointLabel = (context: LabelContext, server: Pick<Server, "address" | "port">): string =>
  field(context.service) + field(server.address) + field(String(server.port)) + tail(context);
