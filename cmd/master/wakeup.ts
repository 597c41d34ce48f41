/** The wakeup trigger that master sends to its own services. */

import type { MasterService } from "../../lib/config/master_cf.ts";
import { warning } from "../../lib/log/log.ts";
import type { Channel } from "../../lib/sys/channel.ts";
import { errnoNumber, SysError } from "../../lib/sys/errno.ts";
import { makePipe } from "../../lib/sys/files.ts";
import { closeSync, openSync, writeSync } from "../../lib/sys/fs.ts";
import { connectInet, connectUnix, FIFO_WRITE, sendDescriptor } from "../../lib/sys/sockets.ts";
import { asMailOwner } from "./endpoint.ts";

const WAKEUP = "W";
const CONNECT_SECONDS = 1;
const CLOSE_GRACE_SECONDS = 100;

/** Sends one wakeup; throws SysError. */
export async function sendWakeup(service: MasterService): Promise<void> {
  switch (service.type) {
    case "fifo": {
      const path = service.endpoint.kind === "path" ? service.endpoint.path : "";
      const fd = asMailOwner(() => openSync(path, FIFO_WRITE));
      try {
        writeSync(fd, WAKEUP);
      } finally {
        closeSync(fd);
      }
      return;
    }
    case "unix-dgram":
      throw new SysError("wakeup", errnoNumber("EOPNOTSUPP"), service.canonicalName);
    case "pass":
      return passWakeup(service);
    default: {
      const channel = await connect(service);
      channel.write(`${WAKEUP}\0`);
      await channel.flush();
      awaitClose(service, channel);
    }
  }
}

function connect(service: MasterService): Promise<Channel> {
  const name = `${service.canonicalName} socket`;
  if (service.endpoint.kind === "path") return connectUnix(service.endpoint.path, name, CONNECT_SECONDS);
  const [first] = service.endpoint.listeners;
  const address =
    first?.address === "0.0.0.0"
      ? "127.0.0.1"
      : first?.address === "::"
        ? "::1"
        : (first?.address ?? "127.0.0.1");
  return connectInet(address, first?.port ?? 0, name, { seconds: CONNECT_SECONDS });
}

async function passWakeup(service: MasterService): Promise<void> {
  const channel = await connect(service);
  const [read, write] = makePipe();
  try {
    writeSync(write, `${WAKEUP}\0`);
    if (channel.fd !== undefined) sendDescriptor(channel.fd, read);
  } finally {
    closeSync(read);
    closeSync(write);
  }
  awaitClose(service, channel);
}

/** The service closes when it is done. */
function awaitClose(service: MasterService, channel: Channel): void {
  channel.timeLimit = CONNECT_SECONDS + CLOSE_GRACE_SECONDS;
  void channel
    .drain()
    .catch(() => warning(`unix_trigger_event: read timeout for service ${service.canonicalName}`))
    .finally(() => channel.destroy());
}
