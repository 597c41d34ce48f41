/** Domains with a log of their waiting mail (fast_flush_domains), and noting a message there. */
import { type Configuration, configuration } from "../config/configuration.ts";
import { addToFlushLog, noteFlushDomain } from "../ipc/clients/flush.ts";
import { FLUSH_STATUS } from "../ipc/protocols/flush.ts";
import { warning } from "../log/log.ts";
import { MatchList } from "../tables/match.ts";

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
export async function noteForFlush(site: string, queueId: string): Promise<void> {
  const domains = await openFlushDomains();
  if (domains.empty) return;
  const match = await domains.matches(site);
  if (match.kind === "none") return;
  if (match.kind === "match") noteFlushDomain("update fast-flush logfile for", site);
  const status = match.kind === "error" ? FLUSH_STATUS.fail : await addToFlushLog(site, queueId);
  if (status !== FLUSH_STATUS.ok && status !== FLUSH_STATUS.denied)
    warning(`${queueId}: flush service failure`);
}
