/**
 * trivial-rewrite(8): completes and normalizes addresses (rewrite), and finds out how an address is delivered (resolve, verify).
 * Clients keep their connections. Tables are opened outside the jail; when one changes, the process ends and master starts another.
 */

import { configuration } from "../../lib/config/configuration.ts";
import { multiServer } from "../../lib/daemon/multi.ts";
import type { Main } from "../../lib/daemon/program.ts";
import { receive, receiveHead, send } from "../../lib/ipc/attributes.ts";
import {
  ResolveReply,
  ResolveRequest,
  RewriteCommand,
  RewriteGreeting,
  RewriteReply,
  RewriteRequest,
  WHOLE_DOMAIN,
} from "../../lib/ipc/protocols/rewrite.ts";
import { warning } from "../../lib/log/log.ts";
import type { Channel } from "../../lib/sys/channel.ts";
import { isKept } from "../../lib/sys/kept_socket.ts";
import { isForWholeDomain, resolveAddress } from "./resolve.ts";
import { rewriteAddress } from "./rewrite.ts";
import { openSettings, type Settings } from "./settings.ts";
import { TableWatch } from "./table_watch.ts";

export const main: Main = (invocation) => {
  const watch = new TableWatch();
  let settings: Settings | undefined;
  return multiServer({
    profile: { files: "read" },
    greeting: RewriteGreeting,
    preJail: async () => {
      // the interfaces cannot be asked for in every jail
      configuration().ownAddresses();
      configuration().proxyAddresses();
      settings = await openSettings();
    },
    postJail: () => watch.start(),
    serve: async (channel) => {
      const current = settings;
      return current !== undefined && (await watch.during(() => serveRequest(channel, current)));
    },
  })(invocation);
};

/** Reads one request and answers it; false when the client cannot be understood. */
async function serveRequest(channel: Channel, settings: Settings): Promise<boolean> {
  const head = await receiveHead(channel, RewriteCommand);
  if (head.kind !== "value") return false;
  const command = head.value.request;
  switch (command) {
    case "rewrite":
      return serveRewrite(channel, settings);
    case "resolve":
      return serveResolve(channel, settings, settings.route);
    case "verify":
      return serveResolve(channel, settings, settings.verifyRoute);
    default:
      warning(`bad command ${command.slice(0, 30)}`);
      return false;
  }
}

async function serveRewrite(channel: Channel, settings: Settings): Promise<boolean> {
  const received = await receive(channel, RewriteRequest);
  if (received.kind !== "value") return false;
  const { rule, address } = received.value;
  if (rule !== "local" && rule !== "remote") {
    warning(`unknown context: ${rule.slice(0, 100)}`);
    return false;
  }
  if (address === "") warning("rewrite_addr: null address");
  const result = address === "" ? "" : rewriteAddress(address, settings[rule], settings.rewrite);
  send(channel, RewriteReply, { flags: 0, address: result });
  return true;
}

async function serveResolve(
  channel: Channel,
  settings: Settings,
  route: Settings["route"],
): Promise<boolean> {
  const received = await receive(channel, ResolveRequest);
  if (received.kind !== "value") return false;
  const { sender, address } = received.value;
  const resolved = await resolveAddress(sender, address, route, settings.resolve);
  const whole = isForWholeDomain(address, resolved, route, settings.resolve) && isOurs(channel);
  send(channel, ResolveReply, {
    serverFlags: 0,
    ...resolved,
    flags: whole ? resolved.flags | WHOLE_DOMAIN : resolved.flags,
  });
  return true;
}

/** A client of Postfix knows nothing of WHOLE_DOMAIN. */
const isOurs = ({ fd }: Channel): boolean => fd !== undefined && isKept(fd);
