/**
 * cleanup(8): takes a message from smtpd, pickup and the other sources, rewrites its addresses, adds what its headers lack, checks its
 * content, and makes the queue file. The queue manager hears of it when the file is safe on disk. One process serves many messages at
 * once; each has its own state.
 */
import { configuration, parameter } from "../../lib/config/configuration.ts";
import type { Main } from "../../lib/daemon/program.ts";
import { singleServer } from "../../lib/daemon/single.ts";
import { rewriteAddress } from "../../lib/ipc/clients/rewrite.ts";
import { SharedTrigger } from "../../lib/ipc/trigger.ts";
import { ClientAbort, onDeath, runDeathCleanups } from "../../lib/log/log.ts";
import { localZone } from "../../lib/message/zone.ts";
import { queues } from "../../lib/queue/configured_queues.ts";
import { ClockCheck } from "../../lib/queue/queue_file.ts";
import { RECORD_HEAD_LIMIT } from "../../lib/queue/records.ts";
import { SpareFilesIn } from "../../lib/queue/spare_files.ts";
import { changedTable, refreshTables } from "../../lib/tables/open.ts";
import { Addresses } from "./addresses.ts";
import { Pipeline } from "./processor.ts";
import { deliveryServices } from "./services.ts";
import { type Shared, serveCleanup } from "./session.ts";
import { openRules, openTables, readSettings } from "./settings.ts";

export const main: Main = (invocation) => {
  let shared: Shared | undefined;
  return singleServer({
    profile: { files: "write" },
    flowControl: true,
    processLimit: 0,
    preJail: async () => {
      // neither the interfaces nor the time zone can be read in every jail
      configuration().ownAddresses();
      configuration().proxyAddresses();
      localZone();
      const settings = readSettings(await openTables(), await openRules());
      shared = {
        pipeline: new Pipeline(new Addresses(settings, rewriteAddress), deliveryServices),
        queues: queues(),
        spares: new SpareFilesIn(
          queues(),
          parameter("queue_file_reuse_limit"),
          parameter("line_length_limit") + RECORD_HEAD_LIMIT,
        ),
        clock: new ClockCheck(),
        trigger: new SharedTrigger(
          "public",
          parameter("queue_service_name"),
          "W",
          parameter("trigger_timeout"),
        ),
        unfinished: new Set(),
      };
      const { unfinished } = shared;
      onDeath(() => {
        for (const file of unfinished) file.discard();
      });
    },
    postJail: async () => {
      await shared?.spares.look();
      // unfinished files would stay behind
      process.on("SIGTERM", () => {
        runDeathCleanups();
        process.exit(0);
      });
    },
    changedTable,
    refreshTables,
    keeps: true,
    serve: async (client) => {
      if (shared === undefined) throw new ClientAbort("not started");
      await serveCleanup(client, shared);
    },
    atExit: () => shared?.trigger.settled(),
  })(invocation);
};
