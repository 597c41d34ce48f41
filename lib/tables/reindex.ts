/** Asking nbdb_reindexd(8) to build the replacement of a Berkeley DB file. */

import { parameter } from "../config/configuration.ts";
import { receive, send } from "../ipc/attributes.ts";
import { ReindexGreeting, ReindexReply, ReindexRequest } from "../ipc/protocols/nbdb_reindex.ts";
import { warning } from "../log/log.ts";
import { pathOf } from "../sys/bytes.ts";
import { errorText } from "../sys/errno.ts";
import { existsSync } from "../sys/fs.ts";
import { connectUnix } from "../sys/sockets.ts";
import { tableType } from "./registry.ts";
import { TableOpenError } from "./table.ts";

const TRIES = 2;
const TIME_LIMIT = 30;
const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1000));

/** Has the index of `name` built in the new type, unless it exists. Throws TableOpenError. */
export async function requestReindex(legacyType: string, name: string, type: string): Promise<void> {
  const suffix = tableType(type)?.indexSuffix;
  if (suffix === undefined || existsSync(pathOf(name + suffix))) return;
  let problem = "";
  for (let attempt = 1; attempt <= TRIES; attempt++) {
    if (attempt > 1) await pause();
    const outcome = await converse(legacyType, name);
    if (outcome.kind === "ok") return;
    problem = outcome.problem;
    if (outcome.kind === "refused") break;
  }
  warning(`Non-Berkeley-DB migration error: ${problem}`);
  throw new TableOpenError(`Non-Berkeley-DB migration error: ${problem}`);
}

type Outcome = { readonly kind: "ok" } | { readonly kind: "refused" | "failed"; readonly problem: string };

async function converse(nbdb_type: string, nbdb_path: string): Promise<Outcome> {
  const service = `private/${parameter("non_bdb_migration_service_name")}`;
  const relative = existsSync(pathOf(service));
  const path = relative ? service : `${parameter("queue_directory")}/${service}`;
  const failed = (problem: string): Outcome => ({ kind: "failed", problem });
  let channel: Awaited<ReturnType<typeof connectUnix>>;
  try {
    channel = await connectUnix(path, `${path} socket`, TIME_LIMIT);
  } catch (failure) {
    return failed(`connection to ${path} service: ${errorText(failure)}`);
  }
  try {
    const greeted = await receive(channel, ReindexGreeting);
    if (greeted.kind !== "value") return failed(`error receiving ${path} service initial response`);
    send(channel, ReindexRequest, { nbdb_type, nbdb_path });
    await channel.flush();
    const reply = await receive(channel, ReindexReply);
    if (reply.kind !== "value")
      return failed(`error receiving response from ${path} service: Connection reset by peer`);
    return reply.value.status === 0 ? { kind: "ok" } : { kind: "refused", problem: reply.value.reason };
  } catch (failure) {
    if (failure instanceof TypeError || failure instanceof RangeError) throw failure;
    return failed(`error sending request to ${path} service: ${errorText(failure)}`);
  } finally {
    channel.destroy();
  }
}
