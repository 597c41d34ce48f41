/** Client of flush(8) (ipc.md 5.6). */
import { parameter } from "../../config/configuration.ts";
import { requestOnce } from "../client.ts";
import { FLUSH_STATUS, FlushAdd, FlushGreeting, FlushStatus } from "../protocols/flush.ts";

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
