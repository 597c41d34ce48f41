/** The services of a running mail system, as sessions use them. */

import { externalToInternal, internalToExternal } from "../../lib/address/quote.ts";
import { parameter } from "../../lib/config/configuration.ts";
import { exportedEnvironment } from "../../lib/delivery/exported_environment.ts";
import { connectEndpoint } from "../../lib/dns/endpoint.ts";
import { type ReplyFilter, resolver } from "../../lib/dns/resolver.ts";
import { requestOnce } from "../../lib/ipc/client.ts";
import { postMail } from "../../lib/ipc/clients/cleanup.ts";
import { connectCleanup } from "../../lib/ipc/clients/cleanup_connection.ts";
import { noteFlushDomain } from "../../lib/ipc/clients/flush.ts";
import { needsNoRewriting, rewriteClient } from "../../lib/ipc/clients/rewrite.ts";
import { queryVerify } from "../../lib/ipc/clients/verify.ts";
import { expectService } from "../../lib/ipc/expectations.ts";
import { FLUSH_STATUS, FlushGreeting, FlushSendSite, FlushStatus } from "../../lib/ipc/protocols/flush.ts";
import { warning } from "../../lib/log/log.ts";
import { PostdropClient } from "../../lib/submission/postdrop_client.ts";
import { errorText } from "../../lib/sys/errno.ts";
import { constants, openSync, statfsSync, unlinkSync } from "../../lib/sys/fs.ts";
import { timeOfDay } from "../../lib/sys/process.ts";
import { sleep } from "../../lib/sys/timers.ts";
import { when } from "../../lib/sys/when.ts";
import { AnvilPool, AnvilSession } from "./anvil_client.ts";
import { CleanupStream, PostdropStream } from "./message_stream.ts";
import type { ProbeResult, SessionServices } from "./services.ts";

const OUTCOMES: ReadonlyArray<ProbeResult["outcome"]> = [
  "deliverable",
  "deferred",
  "undeliverable",
  "in progress",
];

/** `submits`: messages go through postdrop(1), as those of a user. `replyFilter`: smtpd_dns_reply_filter. */
export function mailSystem(submits: boolean, replyFilter: ReplyFilter | undefined): SessionServices {
  const anvil = new AnvilPool();
  const flush = parameter("flush_service_name");
  const timeLimit = parameter("ipc_timeout");
  let spools = 0;
  return {
    // an incomplete address is completed first, as it will be in the queue
    resolve(sender, address) {
      const client = rewriteClient();
      const external = internalToExternal(address);
      if (address === "" || needsNoRewriting(external)) return client.resolve(sender, address);
      return when(client.rewrite("local", external), (complete) =>
        client.resolve(sender, externalToInternal(complete)),
      );
    },
    lookup: (name, type, options) => resolver().lookup(name, type, { replyFilter, ...options }),
    connect: connectEndpoint,
    async verify(address) {
      const answer = await queryVerify(address);
      if (answer.kind === "failed") return undefined;
      return { outcome: OUTCOMES[answer.recipientStatus] ?? "deferred", reason: answer.reason };
    },
    expectMessage() {
      expectService("private", parameter("rewrite_service_name"));
      expectService("public", parameter("cleanup_service_name"));
    },
    openMessage: submits
      ? async () => {
          const started = await PostdropClient.start({
            path: `${parameter("command_directory")}/postdrop`,
            verbose: 0,
            environment: exportedEnvironment(),
          });
          return started.ok ? new PostdropStream(started.client) : undefined;
        }
      : () => connectCleanup().then((connection) => connection && new CleanupStream(connection)),
    openSpool() {
      const path = `incoming/${process.pid}.${Date.now()}.${spools++}`;
      const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
      unlinkSync(path);
      return fd;
    },
    async flushSite(site) {
      const reply = await requestOnce(
        "public",
        flush,
        FlushGreeting,
        FlushSendSite,
        { site },
        FlushStatus,
        timeLimit,
      );
      if (reply !== undefined && reply.status !== FLUSH_STATUS.denied)
        noteFlushDomain("flush mail for", site);
      return reply?.status;
    },
    async sendNotice({ sender, recipient, lines }) {
      try {
        const post = await postMail({ sender, recipient, class: "notify", traceFlags: 0, sendopts: 0 });
        for (const line of lines) post.line(line);
        await post.finish();
      } catch (error) {
        if (error instanceof TypeError || error instanceof RangeError) throw error;
        warning(`postmaster notify: ${errorText(error)}`);
      }
    },
    freeSpace() {
      const { bsize, bavail } = statfsSync(".");
      return { blockSize: bsize, blocks: bavail };
    },
    now: timeOfDay,
    sleep: (seconds) => (seconds <= 0 ? new Promise((resolve) => setImmediate(resolve)) : sleep(seconds)),
    rates: () => new AnvilSession(anvil),
  };
}
