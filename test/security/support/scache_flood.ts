/** Run by Bun: `scache_flood.ts SOCKET ENDPOINT COUNT`: leaves so many descriptors of one connection with the connection cache, under as many names; says how many it took. */

import { receive, send } from "../../../lib/ipc/attributes.ts";
import { passDescriptor } from "../../../lib/ipc/descriptor_passing.ts";
import {
  SCACHE_STATUS,
  ScacheGreeting,
  ScacheSaveEndpoint,
  ScacheStatus,
} from "../../../lib/ipc/protocols/scache.ts";
import { connectUnix, releaseSocket } from "../../../lib/sys/sockets.ts";

const [socket = "", endpoint = "", count = "0"] = process.argv.slice(2);
const fd = releaseSocket(await connectUnix(endpoint, "endpoint", 5));
if (fd === undefined) throw new Error("no descriptor");
const channel = await connectUnix(socket, "scache", 20);
await receive(channel, ScacheGreeting);
let taken = 0;
for (let n = 0; n < Number(count); n++) {
  send(channel, ScacheSaveEndpoint, { ttl: 1000, label: `${n}${"l".repeat(1000)}`, property: "p" });
  if (!(await passDescriptor(channel, fd, { acknowledged: false }))) throw new Error("refused");
  const status = await receive(channel, ScacheStatus);
  if (status.kind !== "value") throw new Error(status.kind);
  if (status.value.status === SCACHE_STATUS.ok) taken++;
}
console.log(taken);
process.exit(0);
