/** When a daemon takes clients, when it tells master, and when it ends (ipc.md 2.3, 2.8). */

import { parameter } from "../config/configuration.ts";
import { info, verbose } from "../log/log.ts";
import { after, type Timer } from "../sys/timers.ts";
import type { Soon } from "../sys/when.ts";
import type { Service, ServiceDefinition } from "./service.ts";
import { AVAILABILITY } from "./status.ts";
import { startWatchdog } from "./watchdog.ts";
import { Workload } from "./workload.ts";

const TABLE_CHECK_MILLISECONDS = 1000;

/**
 * A process that stands for many one-client processes lives as long as they all do, and longer: the first thousands of clients cost it twice what
 * later ones cost, until its hot code is compiled.
 */
const usesOf = (clientLimit: number): number => (clientLimit > 1 ? clientLimit * WARM_FACTOR : 1);
const WARM_FACTOR = 20;

/** Starts and stops the intake of new clients. */
export interface Intake {
  start(): void;
  stop(): void;
}

/** A connection without a request. */
export interface Resting {
  destroy(): void;
}

/**
 * Counts clients. A process that can serve several at once is "available" to master while it has room, and "taken" while
 * it is full or has all the work that it can do; its first client is reported like that of a one-client process, so that master sees a good start.
 */
export class Lifetime {
  readonly #service: Service;
  readonly #definition: ServiceDefinition;
  #intake: Intake | undefined;
  #clients = 0;
  /** Connections of clients that may come again. */
  readonly #resting = new Set<Resting>();
  #served = 0;
  #started = false;
  #taken = false;
  readonly #workload = new Workload();
  #ending = false;
  /** The next client is the last one. */
  #last = false;
  /** Tables are being opened again. */
  #refreshing: Promise<void> | undefined;
  #idleTimer: Timer | undefined;

  constructor(service: Service, definition: ServiceDefinition) {
    this.#service = service;
    this.#definition = definition;
  }

  /** Begins to serve. */
  async begin(intake: Intake): Promise<void> {
    this.#intake = intake;
    await this.#service.status.watch(() => this.#end("master disconnect -- exiting"));
    startWatchdog(this.#definition.watchdog?.() ?? parameter("daemon_timeout"));
    this.#armIdleTimer();
    this.#watchTables();
    intake.start();
  }

  get ending(): boolean {
    return this.#ending;
  }
  get clients(): number {
    return this.#clients;
  }

  /**
   * Before a client is taken: false when the process must not take any more. A client that is here already when a changed table is found
   * cannot be left to another process: it is served when the tables were opened again (`ready()`), or else it is the last one. So that this
   * is rare, the tables are looked at between clients too.
   */
  admits(): boolean {
    if (this.#ending) return false;
    this.#checkTables(() => {
      this.#last = true;
    });
    return true;
  }

  /** Done when the tables are those of now. */
  ready(): Soon<void> {
    return this.#refreshing;
  }

  /** `stale` is called when a changed table cannot be opened again here. */
  #checkTables(stale: () => void): void {
    const changed = this.#definition.changedTable?.();
    if (changed === undefined || this.#refreshing !== undefined) return;
    info(`table ${changed} has changed -- restarting`);
    const refresh = this.#definition.refreshTables;
    if (refresh === undefined) {
      stale();
      return;
    }
    this.#refreshing = refresh()
      .then((left) => {
        if (left !== undefined) this.#end(undefined);
      })
      .finally(() => {
        this.#refreshing = undefined;
      });
  }

  #watchTables(): void {
    if (this.#definition.changedTable === undefined) return;
    const timer = setInterval(() => {
      if (this.#ending) clearInterval(timer);
      else this.#checkTables(() => this.#end(undefined));
    }, TABLE_CHECK_MILLISECONDS);
    timer.unref();
  }

  /** A client was taken. */
  enter(): void {
    this.#clients++;
    this.#stopIdleTimer();
    if (this.#full) this.#intake?.stop();
    if (this.#last) this.#end(undefined);
    this.#workload.look();
    const taken = this.#full || this.#workload.busy;
    if (!this.#started && !taken) this.#service.status.report(AVAILABILITY.taken, AVAILABILITY.available);
    this.#started = true;
    this.#reportTaken(taken);
  }

  get #full(): boolean {
    return this.#clients + this.#resting.size >= this.#service.clientLimit;
  }

  #reportTaken(taken: boolean): void {
    if (taken === this.#taken) return;
    this.#taken = taken;
    const { status } = this.#service;
    if (!status.report(taken ? AVAILABILITY.taken : AVAILABILITY.available) && !taken)
      this.#end("master disconnect -- exiting");
  }

  /** A client is done. */
  leave(): void {
    const wasFull = this.#full;
    this.#done();
    this.#makeRoom(wasFull);
  }

  /** Whether a client that is done now may come again over its connection. Half of the places are for those that wait to be accepted. */
  get keeps(): boolean {
    this.#workload.look();
    if (this.#ending || this.#last || this.#workload.busy || this.#isUsedUp(this.#served + 1)) return false;
    return this.#clients + this.#resting.size <= this.#service.clientLimit / 2;
  }

  /** A client is done, and its connection stays for its next request: `resume()` or `dismiss()` is to follow. */
  rest(connection: Resting): void {
    this.#resting.add(connection);
    this.#done();
  }

  /** A resting client has a request. False when the process ends: `dismiss()` is to follow. */
  resume(connection: Resting): boolean {
    if (!this.#resting.has(connection) || !this.admits()) return false;
    this.#resting.delete(connection);
    this.#clients++;
    this.#stopIdleTimer();
    if (this.#last) this.#end(undefined);
    this.#workload.look();
    if (this.#workload.busy) this.#reportTaken(true);
    return true;
  }

  /** A resting client is gone. */
  dismiss(connection: Resting): void {
    const wasFull = this.#full;
    if (this.#resting.delete(connection)) this.#makeRoom(wasFull);
  }

  /** One request less. */
  #done(): void {
    this.#clients--;
    this.#served++;
    if (this.#isUsedUp(this.#served)) this.#end(undefined);
    if (this.#ending) this.#exitWhenDone();
    else if (this.#clients === 0) this.#armIdleTimer();
  }

  #isUsedUp(served: number): boolean {
    const { maxUse, clientLimit } = this.#service;
    return maxUse > 0 && served >= maxUse * usesOf(clientLimit);
  }

  /** One connection less. */
  #makeRoom(wasFull: boolean): void {
    if (this.#ending) return;
    if (this.#taken) {
      this.#workload.look();
      this.#reportTaken(this.#full || (this.#workload.busy && this.#clients > 0));
    }
    if (wasFull && !this.#full) this.#intake?.start();
  }

  #armIdleTimer(): void {
    const seconds = this.#service.maxIdle;
    if (seconds <= 0 || this.#ending) return;
    this.#stopIdleTimer();
    this.#idleTimer = after(seconds, () => this.#end("idle timeout -- exiting"));
  }
  #stopIdleTimer(): void {
    this.#idleTimer?.cancel();
    this.#idleTimer = undefined;
  }

  /** Takes no more clients; ends when the last one is served. */
  retire(): void {
    this.#end(undefined);
  }

  #end(reason: string | undefined): void {
    if (this.#ending) return;
    this.#ending = true;
    if (reason !== undefined) verbose(() => reason);
    this.#stopIdleTimer();
    this.#intake?.stop();
    for (const connection of [...this.#resting]) connection.destroy();
    this.#exitWhenDone();
  }

  #exitWhenDone(): void {
    if (this.#clients > 0) return;
    void (async () => {
      await this.#definition.atExit?.();
      process.exit(0);
    })();
  }
}
