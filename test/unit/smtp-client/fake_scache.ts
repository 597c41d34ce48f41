/** A connection cache that misbehaves, under Bun for a test: `fake_scache.ts MODE SOCKET PORT`; PORT is of a server whose connections it hands out. */
import { openSync } from "node:fs";
import { featuresOf, formatDestination, formatEndpoint } from "../../../cmd/smtp/session_properties.ts";
import { receive, receiveHead, send } from "../../../lib/ipc/attributes.ts";
import { passDescriptor } from "../../../lib/ipc/descriptor_passing.ts";
import {
  SCACHE_STATUS,
  ScacheCommand,
  ScacheDestinationReply,
  ScacheEndpointReply,
  ScacheFindDestination,
  ScacheFindEndpoint,
  ScacheGreeting,
} from "../../../lib/ipc/protocols/scache.ts";
import { Channel } from "../../../lib/sys/channel.ts";
import { bindChannel, channelHandlers, releaseSocket } from "../../../lib/sys/sockets.ts";

const [mode = "", path = "", port = "0"] = process.argv.slice(2);
const PROPERTY = formatEndpoint({
  tlsLevel: 0,
  reuseCount: 1,
  features: featuresOf(1),
  expires: Math.floor(Date.now() / 1000) + 300,
});
const PLACE = formatDestination({
  nexthop: "s1.test",
  host: "127.0.0.1",
  address: "127.0.0.1",
  port: Number(port),
});

/** A connection to the server, as somebody left it in the cache; nothing of what it says was read. */
async function connection(): Promise<number> {
  const channel = new Channel("cached", 5);
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port: Number(port),
    socket: { ...channelHandlers, open: (made: never) => bindChannel(channel, made) },
  } as never);
  if (socket === undefined) throw new Error("no connection");
  const fd = releaseSocket(channel);
  if (fd === undefined) throw new Error("no descriptor");
  // its greeting, or its end, is there
  await new Promise((resolve) => setTimeout(resolve, 150));
  return fd;
}

async function serve(channel: Channel): Promise<void> {
  if (mode === "silent") return;
  if (mode === "closes") return channel.destroy();
  send(channel, ScacheGreeting, {});
  await channel.flush();
  for (;;) {
    const head = await receiveHead(channel, ScacheCommand);
    if (head.kind !== "value" || mode === "deaf") return;
    if (mode === "halfway") {
      channel.write("status\x000\0prop");
      await channel.flush();
      return channel.destroy();
    }
    if (head.value.request === "find_endp") {
      await receive(channel, ScacheFindEndpoint);
      send(channel, ScacheEndpointReply, { status: SCACHE_STATUS.ok, property: PROPERTY });
    } else {
      await receive(channel, ScacheFindDestination);
      send(channel, ScacheDestinationReply, {
        status: SCACHE_STATUS.ok,
        destinationProperty: PLACE,
        endpointProperty: PROPERTY,
      });
    }
    await channel.flush();
    if (mode === "no descriptor") {
      channel.write("x");
      await channel.flush();
      return;
    }
    const fd = mode === "file" ? openSync("/etc/passwd", "r") : await connection();
    await passDescriptor(channel, fd, { acknowledged: true });
  }
}

Bun.listen({
  unix: path,
  allowHalfOpen: true,
  socket: {
    ...channelHandlers,
    open(client: never) {
      const channel = new Channel("client", 60);
      bindChannel(channel, client);
      serve(channel).catch((error: unknown) => console.error(String(error)));
    },
  },
} as never);
console.log("ready");
