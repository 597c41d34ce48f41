/** flush(8): a log of deferred mail for each destination that may ask for its mail (ETRN, `postqueue -s`), and delivery on demand. */
import { parameter } from "../../lib/config/configuration.ts";
import type { Main } from "../../lib/daemon/program.ts";
import { singleServer } from "../../lib/daemon/single.ts";
import { openFlushDomains } from "../../lib/delivery/flush_domains.ts";
import { type Message, receive, receiveHead, send } from "../../lib/ipc/attributes.ts";
import {
  FLUSH_STATUS,
  FlushAdd,
  FlushCommand,
  FlushGreeting,
  FlushPurge,
  FlushRefresh,
  FlushSendFile,
  FlushSendSite,
  FlushStatus,
} from "../../lib/ipc/protocols/flush.ts";
import { SharedTrigger, trigger } from "../../lib/ipc/trigger.ts";
import { warning } from "../../lib/log/log.ts";
import { queues } from "../../lib/queue/configured_queues.ts";
import type { Channel } from "../../lib/sys/channel.ts";
import { strerror } from "../../lib/sys/errno.ts";
import { tryLock } from "../../lib/sys/files.ts";
import { add, type Flusher, refresh, sendFile, sendSite } from "./flusher.ts";

/** A request this short is no list but master's wakeup. */
const WAKEUP_SIZE = 2;
const LOCK_PAUSE = 20;

/** Waits for a lock beside other clients. */
async function lock(fd: number): Promise<void> {
  while (!tryLock(fd, "exclusive")) await new Promise((resolve) => setTimeout(resolve, LOCK_PAUSE));
}

let scanTrigger: SharedTrigger | undefined;
/** Many requests at once need one scan. */
function queueManagerScan(): SharedTrigger {
  scanTrigger ??= new SharedTrigger(
    "public",
    parameter("queue_service_name"),
    "I",
    parameter("trigger_timeout"),
  );
  return scanTrigger;
}

const flusher = (): Flusher => ({
  queues: queues(),
  lock,
  eligible: async (site) => (await openFlushDomains()).matches(site),
  refreshTime: parameter("fast_flush_refresh_time"),
  purgeTime: parameter("fast_flush_purge_time"),
  unthrottle: async () => {
    await trigger("public", parameter("queue_service_name"), "F", parameter("trigger_timeout"));
  },
  scanIncoming: () => queueManagerScan().fire(),
  now: () => Math.floor(Date.now() / 1000),
});

async function reply(channel: Channel, status: number): Promise<void> {
  send(channel, FlushStatus, { status });
  await channel.flush();
}

/** Reads the whole request and answers with what `work` says; a malformed one is a bad parameter. */
async function answer<T>(
  channel: Channel,
  declared: Message<T>,
  work: (request: T) => Promise<number> | number,
): Promise<void> {
  const request = await receive(channel, declared, { skipExtra: true });
  await reply(channel, request.kind === "value" ? await work(request.value) : FLUSH_STATUS.bad);
}

async function serve(channel: Channel): Promise<void> {
  const service = flusher();
  send(channel, FlushGreeting, {});
  await channel.flush();
  if (!(await channel.more())) {
    warning(`end-of-input while reading request from ${channel.name}: ${strerror(0)}`);
    return reply(channel, FLUSH_STATUS.bad);
  }
  if (channel.buffered <= WAKEUP_SIZE) {
    channel.consume(channel.buffered);
    send(channel, FlushStatus, { status: FLUSH_STATUS.ok });
    channel.push();
    await refresh(service, service.refreshTime);
    return;
  }
  const head = await receiveHead(channel, FlushCommand);
  if (head.kind !== "value") return reply(channel, FLUSH_STATUS.bad);
  switch (head.value.request) {
    case "add":
      return answer(channel, FlushAdd, ({ site, queueId }) => add(service, site, queueId));
    case "send_site":
      return answer(channel, FlushSendSite, ({ site }) => sendSite(service, site));
    case "send_file":
      return answer(channel, FlushSendFile, ({ queueId }) => sendFile(service, queueId));
    case "rfrsh":
      await answer(channel, FlushRefresh, () => FLUSH_STATUS.ok);
      return refresh(service, service.refreshTime);
    case "purge":
      await answer(channel, FlushPurge, () => FLUSH_STATUS.ok);
      return refresh(service, 0);
  }
}

export const main: Main = singleServer({
  profile: { files: "write" },
  processLimit: 0,
  parameters: ["fast_flush_domains", "fast_flush_refresh_time", "fast_flush_purge_time"],
  preJail: async () => {
    await openFlushDomains();
  },
  serve: ({ channel }) => serve(channel),
  atExit: () => scanTrigger?.settled(),
});
