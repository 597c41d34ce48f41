/** Asks for delivery attempts: of everything, of one destination, of one message (tools.md 4.3, 4.4). */
import { isValidAddressLiteral, isValidUtf8Hostname } from "../../lib/address/hostname.ts";
import { parameter } from "../../lib/config/configuration.ts";
import { Progress } from "../../lib/daemon/progress.ts";
import { requestOnce } from "../../lib/ipc/client.ts";
import { noteFlushDomain } from "../../lib/ipc/clients/flush.ts";
import {
  FLUSH_STATUS,
  FlushGreeting,
  FlushSendFile,
  FlushSendSite,
  FlushStatus,
} from "../../lib/ipc/protocols/flush.ts";
import { trigger } from "../../lib/ipc/trigger.ts";
import { fatal } from "../../lib/log/log.ts";
import { pause } from "../../lib/queue/file_system.ts";
import { isQueueId } from "../../lib/queue/queue_id.ts";

const DOWN = "Cannot flush mail queue - mail system is down";
/** Forget dead sites, ignore time stamps, scan deferred, scan incoming. */
const FLUSH_ALL = "FADI";
const TRIGGER_SECONDS = 2;

const cut = (text: string): string => (text.length > 100 ? `${text.slice(0, 100)}...` : text);

export function checkSite(site: string): void {
  const valid = site.startsWith("[") ? isValidAddressLiteral(site) : isValidUtf8Hostname(site);
  if (!valid) fatal(`Cannot flush mail queue - invalid destination: "${cut(site)}"`);
}

export function checkQueueId(id: string): void {
  if (!isQueueId(id)) fatal(`Cannot flush queue ID - invalid name: "${cut(id)}"`);
}

export async function flushQueue(): Promise<void> {
  const done: Promise<void>[] = [];
  const waiting = announceWait();
  for (const [service, request] of [
    [parameter("queue_service_name"), FLUSH_ALL],
    [parameter("pickup_service_name"), "W"],
  ] as const) {
    const sent = await trigger("public", service, request, TRIGGER_SECONDS);
    if (!sent.ok) fatal(DOWN);
    done.push(sent.done);
  }
  await Promise.race([Promise.all(done), pause(TRIGGER_SECONDS)]);
  waiting.end();
}

const ANNOUNCE_MILLISECONDS = 500;

/** Who waits at a terminal learns for what. */
function announceWait(): Progress {
  const progress = new Progress(() => "waiting until the queue manager has taken the request");
  setTimeout(() => progress.show(), ANNOUNCE_MILLISECONDS).unref();
  return progress;
}

export async function flushSite(site: string): Promise<void> {
  const notConfigured = `Flush service is not configured for destination "${site}"`;
  if (!(await isEligible(site))) fatal(notConfigured);
  noteFlushDomain("flush mail for", site);
  const reply = await requestOnce(
    "public",
    parameter("flush_service_name"),
    FlushGreeting,
    FlushSendSite,
    { site },
    FlushStatus,
    parameter("ipc_timeout"),
  );
  conclude(reply?.status, site, notConfigured);
}

export async function flushMessage(id: string): Promise<void> {
  const reply = await requestOnce(
    "public",
    parameter("flush_service_name"),
    FlushGreeting,
    FlushSendFile,
    { queueId: id },
    FlushStatus,
    parameter("ipc_timeout"),
  );
  conclude(reply?.status, id, DOWN);
}

function conclude(status: number | undefined, argument: string, denied: string): void {
  if (status === FLUSH_STATUS.ok) return;
  if (status === FLUSH_STATUS.bad) fatal(`Invalid request: "${argument}"`);
  if (status === FLUSH_STATUS.denied) fatal(denied);
  fatal(DOWN);
}

/** The server would refuse other destinations; asking here gives the same answer when it is down. */
async function isEligible(site: string): Promise<boolean> {
  const { MatchList } = await import("../../lib/tables/match.ts");
  const list = await MatchList.open("fast_flush_domains", parameter("fast_flush_domains"), "domain", {
    parentFeature: "fast_flush_domains",
  });
  return await list.matchesOrFatal(site);
}
