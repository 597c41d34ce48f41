/** Client of flush(8) (ipc.md 5.6). */
import { usesLegacyDefault } from "../../config/compatibility.ts";
import { configuration, parameter } from "../../config/configuration.ts";
import { info } from "../../log/log.ts";
import { requestOnce } from "../client.ts";
import { FLUSH_STATUS, FlushAdd, FlushGreeting, FlushStatus } from "../protocols/flush.ts";

/** Before compatibility level 2 what is below mydestination has a log by default; says for which domain it has been of use. */
export function noteFlushDomain(purpose: string, domain: string): void {
  if (!usesLegacyDefault(configuration(), "flush_domains")) return;
  info(
    `using backwards-compatible default setting relay_domains=$mydestination to ${purpose} domain "${domain}"`,
  );
}

/** Adds a message to the log of a domain; the `FLUSH_STATUS`. */
export async function addToFlushLog(site: string, queueId: string): Promise<number> {
  const service = parameter("flush_service_name");
  const timeLimit = parameter("ipc_timeout");
  const request = { site, queueId };
  const reply = await requestOnce(
    "public",
    service,
    FlushGreeting,
    FlushAdd,
    request,
    FlushStatus,
    timeLimit,
  );
  return reply?.status ?? FLUSH_STATUS.fail;
}
