/** Client of flush(8), as delivery agents use it (ipc.md 5.6). */
import { type Configuration, configuration, parameter } from "../../config/configuration.ts";
import { warning } from "../../log/log.ts";
import { MatchList } from "../../tables/match.ts";
import { requestOnce } from "../client.ts";
import { FLUSH_STATUS, FlushAdd, FlushGreeting, FlushStatus } from "../protocols/flush.ts";

const eligible = new WeakMap<Configuration, Promise<MatchList>>();

/** Opens fast_flush_domains: before entering the jail, where its tables may be out of reach. */
export function openFlushDomains(): Promise<MatchList> {
  const current = configuration();
  let list = eligible.get(current);
  if (list === undefined) {
    list = MatchList.open("fast_flush_domains", current.get("fast_flush_domains"), "domain", {
      parentFeature: "fast_flush_domains",
    });
    eligible.set(current, list);
  }
  return list;
}

/** Notes that a message for this domain waits in the queue, when the domain has a log. Failures are only warned about. */
export async function addToFlushLog(site: string, queueId: string): Promise<void> {
  const domains = await openFlushDomains();
  if (domains.empty) return;
  const match = await domains.matches(site);
  if (match.kind === "none") return;
  const status = match.kind === "error" ? FLUSH_STATUS.fail : await add(site, queueId);
  if (status !== FLUSH_STATUS.ok && status !== FLUSH_STATUS.denied)
    warning(`${queueId}: flush service failure`);
}

async function add(site: string, queueId: string): Promise<number> {
  const service = parameter("flush_service_name");
  const reply = await requestOnce(
    "public",
    service,
    FlushGreeting,
    FlushAdd,
    { site, queueId },
    FlushStatus,
    parameter("ipc_timeout"),
  );
  return reply?.status ?? FLUSH_STATUS.fail;
}
