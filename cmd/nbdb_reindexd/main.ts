/** nbdb_reindexd(8): builds the index that stands in for a Berkeley DB file, when a program misses it (tables.md 14). */
import { configuration, parameter } from "../../lib/config/configuration.ts";
import type { Service } from "../../lib/daemon/service.ts";
import { singleServer } from "../../lib/daemon/single.ts";
import { receive, send } from "../../lib/ipc/attributes.ts";
import { ReindexGreeting, ReindexReply, ReindexRequest } from "../../lib/ipc/protocols/nbdb_reindex.ts";
import { fatal, warning } from "../../lib/log/log.ts";
import { setupLogging } from "../../lib/log/setup.ts";
import type { Channel } from "../../lib/sys/channel.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import { type Outcome, reindex } from "./reindex.ts";

export const main = singleServer({
  profile: { files: "write", executes: true },
  privileged: true,
  processLimit: 1,
  clientLimit: 1,
  takesArguments: true,
  parameters: ["non_bdb_migration_allow_root_prefixes", "non_bdb_migration_allow_user_prefixes"],
  async preJail(service) {
    if (service.standAlone) await standAlone(service);
    else if (service.arguments[0] !== undefined)
      fatal(`unexpected command-line argument: ${service.arguments[0]}`);
  },
  serve: ({ channel }, { name }) => serve(channel, name),
});

async function serve(channel: Channel, service: string): Promise<void> {
  send(channel, ReindexGreeting, {});
  await channel.flush();
  const request = await receive(channel, ReindexRequest);
  if (request.kind !== "value") return;
  const { nbdb_type, nbdb_path } = request.value;
  const outcome = await attempt(service, nbdb_type, nbdb_path);
  if (!outcome.ok) warning(`request to re-index '${nbdb_type}:${nbdb_path}' failed: ${outcome.reason}`);
  send(channel, ReindexReply, outcome.ok ? { status: 0, reason: "" } : { status: 1, reason: outcome.reason });
}

/** For one table, named on the command line; ends the process. */
async function standAlone({ name, processName, arguments: words }: Service): Promise<never> {
  setupLogging(
    { program: processName, standardError: `${parameter("syslog_name")}/${processName}` },
    configuration(),
  );
  const [table = ""] = words;
  if (words.length !== 1) fatal("stand-alone mode requires one type:/path argument");
  const [, type, path] = /^([^:]+):(\/.*)$/s.exec(table) ?? [];
  if (type === undefined || path === undefined)
    fatal(`stand-alone mode called with bad argument: '${table}'`);
  const outcome = await attempt(name, type, path);
  if (!outcome.ok) warning(`stand-alone request to re-index '${table}' failed: ${outcome.reason}`);
  return process.exit(outcome.ok ? 0 : 1);
}

async function attempt(service: string, type: string, path: string): Promise<Outcome> {
  if (parameter("non_bdb_migration_level") !== "enable-reindex")
    return { ok: false, reason: `the ${service} service is disabled` };
  try {
    return await reindex(type, path);
  } catch (error) {
    // somebody changed what we were looking at
    if (errorCode(error) === undefined) throw error;
    return { ok: false, reason: errorText(error) };
  }
}
