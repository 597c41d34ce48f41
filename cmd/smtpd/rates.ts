/** Limits per client, counted by anvil(8) (smtpd.md 17). */

import { formatInet, maskInet, parseInet } from "../../lib/config/inet.ts";
import { warning } from "../../lib/log/log.ts";
import type { RateClient } from "./services.ts";
import type { Session } from "./session.ts";

/** What a session has with anvil; absent while no limit applies to the client. */
export class Rates {
  constructor(private readonly anvil: RateClient) {}

  connect(ident: string): Promise<{ count: number; rate: number } | undefined> {
    return this.anvil.connect(ident);
  }
  count(event: "message" | "recipient"): Promise<number | undefined> {
    return this.anvil.count(event);
  }
  disconnect(): Promise<void> {
    return this.anvil.disconnect();
  }
}

/** Whether any limit is configured. */
export const limitsConfigured = (session: Session): boolean => {
  const { settings } = session;
  return (
    settings.connectionCountLimit > 0 ||
    settings.connectionRateLimit > 0 ||
    settings.messageRateLimit > 0 ||
    settings.recipientRateLimit > 0
  );
};

/** The client as anvil knows it: its network, by smtpd_client_ipv4_prefix_length and smtpd_client_ipv6_prefix_length. */
export function rateIdent(session: Session): string {
  const { settings, client, connection } = session;
  const v6 = client.address.includes(":");
  const length = v6 ? settings.ipv6PrefixLength : settings.ipv4PrefixLength;
  return `${connection.service}:${networkOf(client.address, length)}`;
}

function networkOf(address: string, length: number): string {
  const bytes = parseInet(address);
  if (bytes === undefined || length >= bytes.length * 8) return address;
  return `${formatInet(maskInet(bytes, length))}/${length}`;
}

const LIMITS = {
  message: { setting: "messageRateLimit", text: "Message delivery request rate" },
  recipient: { setting: "recipientRateLimit", text: "Recipient address rate" },
} as const;

/** Counts an event and says whether the client is over its limit (logged). */
export function rateExceeded(session: Session, event: keyof typeof LIMITS): boolean | Promise<boolean> {
  const limit = session.settings[LIMITS[event].setting];
  return limit === 0 || session.rates === undefined
    ? false
    : countsTooMany(session, session.rates, event, limit);
}

async function countsTooMany(
  session: Session,
  rates: Rates,
  event: keyof typeof LIMITS,
  limit: number,
): Promise<boolean> {
  const { text } = LIMITS[event];
  const rate = await rates.count(event);
  if (rate === undefined || rate <= limit) return false;
  warning(
    `${text} limit exceeded: ${rate} from ${session.nameAddress} for service ${session.connection.service}`,
  );
  return true;
}

/** Registers the connection; true when the client has too many (logged). */
export async function tooManyConnections(session: Session): Promise<boolean> {
  const { settings, rates } = session;
  if (rates === undefined) return false;
  const counts = await rates.connect(rateIdent(session));
  if (counts === undefined) return false;
  const about = `from ${session.nameAddress} for service ${session.connection.service}`;
  if (settings.connectionCountLimit > 0 && counts.count > settings.connectionCountLimit) {
    warning(`Connection concurrency limit exceeded: ${counts.count} ${about}`);
    return true;
  }
  if (settings.connectionRateLimit > 0 && counts.rate > settings.connectionRateLimit) {
    warning(`Connection rate limit exceeded: ${counts.rate} ${about}`);
    return true;
  }
  return false;
}
