/** verify(8): says which addresses take mail, from a cache of the outcomes of probes that it sends. */
import { parameter } from "../../lib/config/configuration.ts";
import { multiServer } from "../../lib/daemon/multi.ts";
import { type Message, receive, receiveHead, send } from "../../lib/ipc/attributes.ts";
import {
  VERIFY_STATUS,
  VerifyCommand,
  VerifyGreeting,
  VerifyQuery,
  VerifyQueryReply,
  VerifyStatus,
  VerifyUpdate,
} from "../../lib/ipc/protocols/verify.ts";
import { panic, warning } from "../../lib/log/log.ts";
import { printable } from "../../lib/sys/bytes.ts";
import type { Channel } from "../../lib/sys/channel.ts";
import { CacheDatabase } from "../../lib/tables/cache.ts";
import { CacheSweep } from "../../lib/tables/cache_sweep.ts";
import { isExpired, parseEntry } from "./entry.ts";
import { sendProbe } from "./probe.ts";
import { Verifier } from "./verifier.ts";

let cache: CacheDatabase | undefined;
let sweep: CacheSweep | undefined;
let verifier: Verifier | undefined;

const now = (): number => Math.floor(Date.now() / 1000);

export const main = multiServer({
  profile: { files: "write" },
  greeting: VerifyGreeting,
  processLimit: 1,
  maxUse: 0,
  maxIdle: 0,
  parameters: [
    "address_verify_map",
    "address_verify_sender",
    "address_verify_sender_ttl",
    "address_verify_positive_expire_time",
    "address_verify_positive_refresh_time",
    "address_verify_negative_cache",
    "address_verify_negative_expire_time",
    "address_verify_negative_refresh_time",
    "address_verify_cache_cleanup_interval",
  ],
  async preJail() {
    cache = await CacheDatabase.open(parameter("address_verify_map"), "verify");
  },
  async postJail() {
    const opened = cache ?? panic("verify: no cache");
    verifier = new Verifier({ cache: opened, probe: sendProbe, now });
    sweep = new CacheSweep(opened, {
      interval: parameter("address_verify_cache_cleanup_interval"),
      keep: (_address, value) => {
        const entry = parseEntry(value);
        return entry !== undefined && !isExpired(entry, now());
      },
    });
    await sweep.schedule();
  },
  serve: (channel) => serve(channel, verifier ?? panic("verify: not initialized")),
  atExit() {
    sweep?.stop();
    cache?.close();
  },
});

/** One request and its reply; false ends the connection. */
async function serve(channel: Channel, service: Verifier): Promise<boolean> {
  const head = await receiveHead(channel, VerifyCommand);
  if (head.kind !== "value") return false;
  switch (head.value.request) {
    case "query":
      return answer(channel, VerifyQuery, async ({ address }) =>
        send(channel, VerifyQueryReply, await service.query(address)),
      );
    case "update":
      return answer(channel, VerifyUpdate, async ({ address, recipientStatus, reason }) =>
        send(channel, VerifyStatus, { status: await service.update(address, recipientStatus, reason) }),
      );
    default:
      warning(`unrecognized request: "${printable(head.value.request)}", ignored`);
      send(channel, VerifyStatus, { status: VERIFY_STATUS.bad });
      // without the end of its list, nothing more can be read from this client
      return (await receive(channel, VerifyCommand, { skipExtra: true })).kind === "value";
  }
}

async function answer<T>(
  channel: Channel,
  declared: Message<T>,
  reply: (request: T) => Promise<void>,
): Promise<boolean> {
  const request = await receive(channel, declared);
  if (request.kind !== "value") return false;
  await reply(request.value);
  return true;
}
