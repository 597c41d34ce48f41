/** One service of master.cf while the system runs: its endpoint, its processes, their status reports. */

import { configuration, parameter } from "../../lib/config/configuration.ts";
import { childArguments, isStressAware, type MasterService } from "../../lib/config/master_cf.ts";
import {
  AVAILABILITY,
  decodeStatus,
  expectationOf,
  STARTS_AHEAD,
  STATUS_SIZE,
} from "../../lib/daemon/status.ts";
import { info, logFatal, panic, verbose, warning } from "../../lib/log/log.ts";
import type { Channel } from "../../lib/sys/channel.ts";
import { errorCode, errorText, unless } from "../../lib/sys/errno.ts";
import { setCloseOnExec } from "../../lib/sys/files.ts";
import { closeSync } from "../../lib/sys/fs.ts";
import { sendSignal } from "../../lib/sys/process.ts";
import { type ProgramEnd, startWatched } from "../../lib/sys/program_end.ts";
import { adoptSocket, socketPair } from "../../lib/sys/sockets.ts";
import { after, every, type Timer } from "../../lib/sys/timers.ts";
import { closeEndpoint, openEndpoint, watchEndpoint } from "./endpoint.ts";
import { RUNTIME } from "./runtime.ts";
import type { Supervisor } from "./supervisor.ts";
import { sendWakeup } from "./wakeup.ts";

const STRESS_SECONDS = 1000;
const LIMIT_WARNING_SECONDS = 1000;
const SIGTERM = 15;
/** Why there is no new process, when the program is not to blame. */
const LACKING: ReadonlySet<string> = new Set(["EAGAIN", "ENOMEM", "EMFILE", "ENFILE"]);

interface ChildProcess {
  readonly pid: number;
  readonly generation: number;
  availability: number;
  /** Idle reports so far. */
  useCount: number;
}

const seconds = (): number => performance.now() / 1000;

export class RunningService {
  readonly #supervisor: Supervisor;
  #service: MasterService;
  #listeners: ReadonlyArray<number> = [];
  readonly #children = new Map<number, ChildProcess>();
  #idle = 0;
  #throttled: Timer | undefined;
  #wakeup: Timer | undefined;
  #stressUntil = 0;
  #limitWarnedUntil = 0;
  #watching = false;
  #removed = false;
  /** The children's end of the status channel; ours is read by #readStatus. */
  #statusChildEnd = -1;
  #status: Channel | undefined;

  constructor(supervisor: Supervisor, service: MasterService) {
    this.#supervisor = supervisor;
    this.#service = service;
  }

  get listeners(): ReadonlyArray<number> {
    return this.#listeners;
  }
  has(pid: number): boolean {
    return this.#children.has(pid);
  }
  /** A signal stopped a process; it stays on the books. */
  stopped(pid: number, signal: number): void {
    if (this.has(pid)) warning(`process ${this.#path} pid ${pid} stopped by signal ${signal}`);
  }
  get watching(): boolean {
    return this.#watching;
  }
  /** There are processes that should take the next client, none of them is just starting, and there may be more. */
  get mayHaveMore(): boolean {
    if (this.#removed || this.#throttled !== undefined || this.#idle === 0 || !this.#hasRoom) return false;
    return [...this.#children.values()].every(
      ({ availability, useCount }) => availability !== AVAILABILITY.available || useCount > 0,
    );
  }
  get #hasRoom(): boolean {
    const limit = this.#service.processLimit;
    return limit === 0 || this.#children.size < limit;
  }
  get #path(): string {
    return `${parameter("daemon_directory")}/${this.#service.command}`;
  }
  get #label(): string {
    return `${this.#service.name}(${this.#service.canonicalName})`;
  }

  /** Creates the endpoint and begins to watch it. */
  open(): void {
    this.#listeners = openEndpoint(this.#service);
    this.#openStatusChannel();
    this.#evaluate();
    this.#startWakeup(false);
  }

  /** New settings by a reload: the endpoint stays, running processes are told to leave by the end of their status channel. */
  update(service: MasterService): void {
    this.#service = { ...service, endpoint: this.#service.endpoint };
    this.#openStatusChannel();
    this.#evaluate();
    this.#startWakeup(false);
  }

  /** The entry is gone: its processes are ended, then the endpoint is closed; its path stays. */
  remove(): void {
    this.#removed = true;
    this.#wakeup?.cancel();
    this.#throttled?.cancel();
    this.#evaluate();
    this.#closeStatusChannel();
    // one that ended a moment ago is not there any more
    for (const { pid } of this.#children.values()) unless(["ESRCH"], () => sendSignal(pid, SIGTERM));
    closeEndpoint(this.#listeners);
    this.#listeners = [];
  }

  // --- watching --------------------------------------------------------------------------------------

  /** Watches the endpoint exactly when a client would need a new process and one may be started. */
  #evaluate(): void {
    const room = this.#hasRoom;
    const wanted = !this.#removed && this.#throttled === undefined && this.#idle === 0 && room;
    if (!room && this.#idle === 0) this.#warnLimit();
    if (wanted === this.#watching) return;
    this.#watching = wanted;
    watchEndpoint(this.#listeners, wanted);
    verbose(
      () => `${this.#service.name}: ${wanted ? "enable" : "disable"} events ${this.#service.canonicalName}`,
    );
    // a client that came before the kernel was asked to signal it
    if (wanted) setImmediate(() => this.#supervisor.poll());
  }

  #warnLimit(): void {
    if (!isStressAware(this.#service) || this.#throttled !== undefined || seconds() < this.#limitWarnedUntil)
      return;
    this.#limitWarnedUntil = seconds() + LIMIT_WARNING_SECONDS;
    const { name, canonicalName, processLimit } = this.#service;
    warning(
      `service "${name}" (${canonicalName}) has reached its process limit "${processLimit}": new clients may experience noticeable delays`,
    );
    warning(
      "to avoid this condition, increase the process count in master.cf or reduce the service time per client",
    );
    warning(
      "see https://www.postfix.org/STRESS_README.html for examples of stress-adapting configuration settings",
    );
  }

  // --- processes -------------------------------------------------------------------------------------

  /** Starts a process where none is available. */
  spawn(): void {
    if (this.#watching) this.#startProcess();
  }

  /** What a process reports that is about to ask this service. */
  get expectation(): number {
    return expectationOf(this.#service.canonicalName);
  }

  /** Starts the first process before its client is there. */
  startAhead(): void {
    if (this.#children.size === 0) this.spawn();
  }

  /** Starts a process although there are some that say they are available: they take no clients. */
  startBeside(): void {
    if (!this.mayHaveMore) return;
    const { name, canonicalName } = this.#service;
    info(`service "${name}" (${canonicalName}): clients wait for an available process: starting another one`);
    this.#startProcess();
  }

  #startProcess(): void {
    const service = this.#service;
    if (isStressAware(service) && this.#children.size + 1 >= service.processLimit) {
      if (seconds() >= this.#stressUntil) this.#openStatusChannel();
      this.#stressUntil = seconds() + STRESS_SECONDS;
    }
    const generation = this.#supervisor.nextGeneration();
    let pid: number;
    try {
      pid = this.#start(generation);
    } catch (error) {
      this.#notStarted(error);
      return;
    }
    verbose(() => `spawn command ${this.#path}; pid ${pid}`);
    this.#children.set(pid, { pid, generation, availability: AVAILABILITY.available, useCount: 0 });
    this.#idle++;
    this.#evaluate();
    this.#startWakeup(true);
  }

  /** No process could be made, or it could not execute the program. */
  #notStarted(error: unknown): void {
    const code = errorCode(error);
    if (code === undefined) throw error;
    if (LACKING.has(code)) warning(`master_spawn: fork: ${errorText(error)} -- throttling`);
    else {
      logFatal(`master_spawn: exec ${this.#path}: ${errorText(error)}`);
      warning(`${this.#path}: bad command startup -- throttling`);
    }
    this.#throttle();
  }

  #start(generation: number): number {
    const { options, environment, flowPipe } = this.#supervisor;
    const [, ...args] = childArguments(this.#service, {
      debug: options.foreground,
      verbose: options.verbose,
      stress: seconds() < this.#stressUntil,
    });
    const { pid, ended } = startWatched({
      path: this.#path,
      argv: [this.#service.command, ...args],
      environment: withLogVariables(environment)
        .set("GENERATION", generation.toString(8))
        .set(STARTS_AHEAD, "1"),
      descriptors: [0, 1, 2, flowPipe[0], flowPipe[1], this.#statusChildEnd, ...this.#listeners],
    });
    void ended.then((end) => this.#exited(pid, end));
    return pid;
  }

  #exited(pid: number, end: ProgramEnd): void {
    const child = this.#children.get(pid);
    if (child === undefined) panic(`master_reap_child: unknown pid: ${pid}`);
    verbose(() => `master_reap_child: pid ${pid}`);
    this.#children.delete(pid);
    if (child.availability === AVAILABILITY.available) this.#idle--;
    const killedByUs = this.#removed && end.kind === "signal" && end.signal === SIGTERM;
    if (end.kind === "signal" && !killedByUs)
      warning(`process ${this.#path} pid ${pid} killed by signal ${end.signal}`);
    else if (end.kind === "exit" && end.status !== 0)
      warning(`process ${this.#path} pid ${pid} exit status ${end.status}`);
    const abnormal = end.kind === "signal" || end.status !== 0;
    if (abnormal && child.useCount === 0 && this.#throttled === undefined && !this.#removed) {
      warning(`${this.#path}: bad command startup -- throttling`);
      this.#throttle();
      return;
    }
    this.#evaluate();
  }

  #throttle(): void {
    verbose(() => `throttling command ${this.#path}`);
    this.#throttled = after(parameter("service_throttle_time"), () => {
      this.#throttled = undefined;
      verbose(() => `throttle released for command ${this.#path}`);
      this.#evaluate();
    });
    this.#evaluate();
  }

  // --- status reports --------------------------------------------------------------------------------

  #openStatusChannel(): void {
    this.#closeStatusChannel();
    const [ours, theirs] = socketPair();
    setCloseOnExec(ours);
    this.#statusChildEnd = theirs;
    void adoptSocket(ours, `${this.#label} status`).then((channel) => {
      if (this.#statusChildEnd !== theirs) {
        channel.destroy();
        return;
      }
      this.#status = channel;
      void this.#readStatus(channel);
    });
  }

  #closeStatusChannel(): void {
    this.#status?.destroy();
    this.#status = undefined;
    if (this.#statusChildEnd >= 0) closeSync(this.#statusChildEnd);
    this.#statusChildEnd = -1;
  }

  async #readStatus(channel: Channel): Promise<void> {
    try {
      do {
        while (channel.buffered >= STATUS_SIZE) {
          this.#report(channel.peek().subarray(0, STATUS_SIZE));
          channel.consume(STATUS_SIZE);
        }
        // all processes of a service share the channel, each record is one write: what is left must not shift the others' records
        if (channel.buffered > 0) {
          const pid = channel.buffered >= 4 ? channel.peek().readInt32LE(0) : 0;
          warning(
            `service ${this.#label}: child (pid ${pid}) sent partial status update (${channel.buffered} bytes)`,
          );
          channel.consume(channel.buffered);
        }
      } while (await channel.more());
    } catch (error) {
      if (error instanceof TypeError || error instanceof RangeError) throw error;
      warning(`master_status_event: read: ${errorText(error)}`);
    }
  }

  #report(record: Buffer): void {
    const { pid, generation, availability } = decodeStatus(record);
    const child = this.#children.get(pid);
    if (child === undefined) return;
    if (child.generation !== generation) {
      info(`ignoring status update from child pid ${pid} generation ${generation}`);
      return;
    }
    if (availability < 0) {
      this.#supervisor.startAhead(availability);
      return;
    }
    if (child.availability === availability) return;
    switch (availability) {
      case AVAILABILITY.available:
        child.useCount++;
        this.#idle++;
        break;
      case AVAILABILITY.taken:
        this.#idle--;
        break;
      default:
        warning(`master_status_event: ignoring unknown status: ${pid} allegedly from pid: ${availability}`);
        return;
    }
    child.availability = availability;
    this.#evaluate();
  }

  // --- wakeup ----------------------------------------------------------------------------------------

  /** Begins the wakeups: at activation and reload, or for conditional ones at the first process. */
  #startWakeup(firstProcess: boolean): void {
    const { wakeup, wakeupAfterUse } = this.#service;
    if (firstProcess && (!wakeupAfterUse || this.#wakeup !== undefined)) return;
    this.#wakeup?.cancel();
    this.#wakeup = undefined;
    if (wakeup <= 0 || (wakeupAfterUse && !firstProcess)) return;
    this.#wake();
    this.#wakeup = every(wakeup, () => this.#wake());
  }

  #wake(): void {
    if (this.#throttled !== undefined) return;
    sendWakeup(this.#service).catch((error: unknown) => {
      if (error instanceof TypeError) throw error;
      warning(`master_wakeup_timer_event: service ${this.#label}: ${errorText(error)}`);
    });
  }
}

/** The environment of the children, with where they log before they have read main.cf. */
function withLogVariables(environment: ReadonlyMap<string, string>): Map<string, string> {
  const variables = new Map([...RUNTIME, ...environment]).set(
    "MAIL_LOGTAG",
    configuration().get("syslog_name"),
  );
  if (configuration().get("maillog_file") === "") {
    variables.delete("POSTLOG_SERVICE");
    variables.delete("POSTLOG_HOSTNAME");
  } else {
    const socket = `public/${configuration().get("postlog_service_name")}`;
    variables.set("POSTLOG_SERVICE", `${configuration().get("queue_directory")}/${socket}`);
    variables.set("POSTLOG_HOSTNAME", configuration().get("myhostname"));
  }
  return variables;
}
