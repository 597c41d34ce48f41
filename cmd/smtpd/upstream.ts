/** The client behind a load balancer: smtpd_upstream_proxy_protocol. */
import { configuration } from "../../lib/config/configuration.ts";
import { warning } from "../../lib/log/log.ts";
import { HAPROXY_HEADER_LIMIT, type ProxiedConnection, parseHaproxy } from "../../lib/smtp/haproxy.ts";
import { type Channel, ChannelTimeout } from "../../lib/sys/channel.ts";
import { SysError } from "../../lib/sys/errno.ts";
import { escaped } from "./escaped.ts";

export type Upstream =
  | { readonly kind: "proxied"; readonly connection: ProxiedConnection }
  | { readonly kind: "local" }
  /** Logged; the client is refused. */
  | { readonly kind: "failed" };

const failed = (problem: string): Upstream => {
  warning(`haproxy read: ${problem}`);
  return { kind: "failed" };
};

/** Reads the header that comes before everything else; it must be there in one piece within `seconds`. */
export async function readUpstream(channel: Channel, seconds: number): Promise<Upstream> {
  channel.setDeadline(seconds);
  try {
    if (channel.buffered === 0 && !(await channel.more())) return failed("EOF");
  } catch (error) {
    if (error instanceof ChannelTimeout) return failed("timeout error");
    if (error instanceof SysError) return failed("EOF");
    throw error;
  } finally {
    channel.setDeadline(0);
  }
  const view = channel.peek();
  const header = parseHaproxy(view, configuration().protocols());
  if (header.kind === "bad")
    return failed(
      `${header.problem}: ${escaped(view.toString("latin1", 0, Math.min(view.length, HAPROXY_HEADER_LIMIT)))}`,
    );
  channel.consume(header.length);
  return header;
}
