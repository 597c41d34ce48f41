/** qmgr(8), also as oqmgr(8): decides what is delivered when, by which agent, with how much concurrency, and what becomes of the rest. */
import { externalToInternal, internalToExternal } from "../../lib/address/quote.ts";
import { extensionRules } from "../../lib/address/split.ts";
import { parameter } from "../../lib/config/configuration.ts";
import { addFlowTokens, flowTokens, removeFlowTokens } from "../../lib/daemon/flow_control.ts";
import type { Main } from "../../lib/daemon/program.ts";
import { triggerServer } from "../../lib/daemon/trigger.ts";
import { flushBounces, flushBouncesVerp, flushTrace, warnDelay } from "../../lib/ipc/clients/bounce.ts";
import { resolveAddress, resolveForVerification, rewriteAddress } from "../../lib/ipc/clients/rewrite.ts";
import { expectService } from "../../lib/ipc/expectations.ts";
import { queues } from "../../lib/queue/configured_queues.ts";
import { SpareFilesOut } from "../../lib/queue/spare_files.ts";
import { splitAny } from "../../lib/sys/bytes.ts";
import { tryLock } from "../../lib/sys/files.ts";
import { connectAgent } from "./agent_connection.ts";
import { SlewedClock, systemTimers } from "./clock.ts";
import { Deliverer } from "./deliver.ts";
import { deferDirectly, discardNotice } from "./directly.ts";
import { Disk } from "./disk.ts";
import { type Feeder, feedMessage, refillMessage } from "./feed.ts";
import { finishMessage } from "./finish.ts";
import { MainLoop } from "./loop.ts";
import { Manager } from "./manager.ts";
import { recoverActive } from "./recover.ts";
import { Scan } from "./scan.ts";
import { readSettings, readTransportSettings } from "./settings.ts";
import { applyTriggers } from "./triggers.ts";

const AGENT_CHECK_MILLISECONDS = 60_000;

interface QueueManager {
  readonly manager: Manager;
  readonly incoming: Scan;
  readonly deferred: Scan;
}

function startQueueManager(preemptive: boolean): QueueManager {
  const settings = readSettings(preemptive);
  const clock = new SlewedClock();
  const disk = new Disk(
    queues(),
    (fd) => tryLock(fd, "exclusive"),
    new SpareFilesOut(queues(), parameter("queue_file_reuse_limit")),
  );
  const manager: Manager = new Manager(settings, clock, systemTimers, {
    transportSettings: readTransportSettings,
    refill: (message) => void refillMessage(feeder, message),
    finish: (message) =>
      void finishMessage({ manager, disk, notices, refill: (m) => refillMessage(feeder, m) }, message),
    deferDirectly: (message, recipients, cause) => deferDirectly(manager, message, recipients, cause),
    wake: () => loop.wake(),
  });
  const feeder: Feeder = {
    manager,
    disk,
    resolver: {
      resolve: (sender, address, probe) =>
        probe ? resolveForVerification(sender, address) : resolveAddress(sender, address),
      canonicalize: async (address) =>
        externalToInternal(await rewriteAddress("local", internalToExternal(address))),
    },
    extensionRules: extensionRules(),
    discardNotice: (message, recipient) => discardNotice(disk, message, recipient),
  };
  const usualAgent = defaultAgent();
  const incoming = new Scan("incoming", disk);
  const deferred = new Scan("deferred", disk);
  const deliverer = new Deliverer(manager, connectAgent);
  const loop = new MainLoop({
    deliverer,
    incoming,
    deferred,
    flow: { tokens: flowTokens, add: addFlowTokens, remove: removeFlowTokens },
    feed(scan, id) {
      const fed = feedMessage(feeder, scan, id);
      // what waited is mostly bound for other machines: the agent starts while trivial-rewrite does
      if (fed && scan === deferred && usualAgent !== undefined) expectService("private", usualAgent);
      return fed;
    },
    assigning: () => manager.assigningCount,
    soon: (action) => void setImmediate(action),
    milliseconds: () => performance.now(),
  });

  recoverActive(disk, clock.now());
  applyTriggers(manager, incoming, deferred, "W");
  const scanDeferred = (): void => {
    applyTriggers(manager, incoming, deferred, "D");
    systemTimers.after(settings.queueRunDelay, scanDeferred);
  };
  scanDeferred();
  setInterval(() => deliverer.checkAgents(), AGENT_CHECK_MILLISECONDS);
  return { manager, incoming, deferred };
}

/** The service of default_transport, unless its mail is to wait. */
function defaultAgent(): string | undefined {
  const [agent = ""] = parameter("default_transport").split(":", 1);
  return agent === "" || splitAny(parameter("defer_transports"), ", \t\r\n").includes(agent)
    ? undefined
    : agent;
}

const notices = {
  flush: (service: "bounce" | "defer", envelope: Parameters<typeof flushBounces>[1]) =>
    flushBounces(serviceName(service), envelope),
  flushVerp: (
    service: "bounce" | "defer",
    envelope: Parameters<typeof flushBouncesVerp>[1],
    delimiters: string,
  ) => flushBouncesVerp(serviceName(service), envelope, delimiters),
  warn: warnDelay,
  trace: flushTrace,
};

const serviceName = (service: "bounce" | "defer"): string =>
  service === "bounce" ? parameter("bounce_service_name") : parameter("defer_service_name");

let running: QueueManager | undefined;

export const main: Main = (invocation) =>
  triggerServer({
    profile: { files: "write" },
    patient: true,
    processLimit: 1,
    maxUse: 0,
    maxIdle: 0,
    watchdog: () => parameter("qmgr_daemon_timeout"),
    ipcTimeout: "qmgr_ipc_timeout",
    start: () => {
      running = startQueueManager(invocation.processName !== "oqmgr");
    },
    trigger: (request) => {
      if (running !== undefined) applyTriggers(running.manager, running.incoming, running.deferred, request);
    },
  })(invocation);
