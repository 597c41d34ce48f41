/**
 * proxymap(8): tables for clients that cannot open them (a jail, too many connections to a database server). As service `proxymap` it reads,
 * as `proxywrite` it also changes tables. Only tables that the configuration approves can be used.
 */
import { parameter } from "../../lib/config/configuration.ts";
import { print } from "../../lib/daemon/command.ts";
import { multiServer } from "../../lib/daemon/multi.ts";
import type { Service } from "../../lib/daemon/service.ts";
import { ProxymapGreeting } from "../../lib/ipc/protocols/proxymap.ts";
import { fatal, panic } from "../../lib/log/log.ts";
import { changedTable, isOnServer, refreshTables } from "../../lib/tables/open.ts";
import { type ProxyService, tableNames } from "./approved.ts";
import { Requests } from "./requests.ts";

let service: ProxyService | undefined;
let requests: Requests | undefined;
/** Tables that clients may ask for, which are opened when they do. */
let approved: ReadonlySet<string> = new Set();

/** Tells what may be used, sorted, and ends: `proxymap -SVn export-proxy-proxymap`. */
function exportNames(name: string): void {
  const match = /^export-(proxy|all)-(proxymap|proxywrite)$/.exec(name);
  if (match === null) return;
  const names = tableNames(match[2] === "proxywrite" ? "proxywrite" : "proxymap");
  for (const table of [...(match[1] === "proxy" ? names.approved : names.all)].sort()) print(`${table}\n`);
  process.exit(0);
}

function prepare({ name, standAlone }: Service): void {
  if (standAlone) exportNames(name);
  if (name !== "proxymap" && name !== "proxywrite")
    fatal(`invalid service name: "${name}" - service name must be "proxywrite" or "proxymap"`);
  service = name;
  approved = tableNames(name).approved;
  requests = new Requests(name, approved);
}

export const main = multiServer({
  profile: () => ({ files: "write", internet: [...approved].some(isOnServer) }),
  greeting: ProxymapGreeting,
  parameters: ["proxy_read_maps", "proxy_write_maps", "smtpd_restriction_classes"],
  preJail: prepare,
  // tables that this process writes change all the time
  changedTable: () => (service === "proxymap" ? changedTable() : undefined),
  refreshTables,
  serve: (channel) => requests?.serve(channel) ?? panic("a client before the start"),
  maxIdle: () => parameter("max_idle"),
});
