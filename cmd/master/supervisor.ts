/** The set of services: loading, reloading, and telling which has work (ipc.md 1.6 to 1.9). */

import { configuration, parameter } from "../../lib/config/configuration.ts";
import { type MasterService, parseMasterCf } from "../../lib/config/master_cf.ts";
import { fatal, info, warning } from "../../lib/log/log.ts";
import { setupLogging } from "../../lib/log/setup.ts";
import { errorText } from "../../lib/sys/errno.ts";
import { makePipe } from "../../lib/sys/files.ts";
import { readFileSync } from "../../lib/sys/fs.ts";
import { readableNow } from "../../lib/sys/sockets.ts";
import { reconfigure } from "./configure.ts";
import type { MasterOptions } from "./options.ts";
import { RunningService } from "./running_service.ts";

/** Signals tell of new clients; this catches what a lost signal would leave waiting. */
const POLL_MILLISECONDS = 1000;
/**
 * A process that says it is available, and takes no client for so many looks in a row, is stuck: in a mailbox on a server that does not answer, say.
 * Another one is started beside it.
 */
const STUCK_LOOKS = 5;
const STUCK_LOOK_MILLISECONDS = 200;

export class Supervisor {
  readonly options: MasterOptions;
  readonly environment: ReadonlyMap<string, string>;
  readonly flowPipe: readonly [number, number];
  readonly #services = new Map<string, RunningService>();
  #generation = 0;
  #interfaces = "";

  constructor(options: MasterOptions, environment: ReadonlyMap<string, string>) {
    this.options = options;
    this.environment = environment;
    this.flowPipe = makePipe(true);
  }

  /** Number of the next process; counts all of this master's. */
  nextGeneration(): number {
    return ++this.#generation;
  }

  /** Reads master.cf and starts its services. */
  load(): void {
    for (const service of this.#readServices()) this.#activate(service);
    this.#interfaces = parameter("inet_interfaces");
    setInterval(() => {
      this.poll();
      this.#lookForStuck();
    }, POLL_MILLISECONDS);
    this.poll();
  }

  #lookForStuck(): void {
    const suspects = clientsWait([...this.#services.values()].filter((service) => service.mayHaveMore));
    this.#lookAgain(suspects, 1);
  }

  #lookAgain(suspects: ReadonlyArray<RunningService>, looks: number): void {
    if (suspects.length === 0) return;
    if (looks === STUCK_LOOKS) {
      for (const service of suspects) service.startBeside();
      return;
    }
    setTimeout(
      () => this.#lookAgain(clientsWait(suspects.filter((service) => service.mayHaveMore)), looks + 1),
      STUCK_LOOK_MILLISECONDS,
    );
  }

  #readServices(): ReadonlyArray<MasterService> {
    const path = `${configuration().directory}/master.cf`;
    let text: string;
    try {
      text = readFileSync(path, "latin1");
    } catch (error) {
      return fatal(`open ${path}: ${errorText(error)}`);
    }
    const parsed = parseMasterCf(text, path, configuration());
    for (const notice of parsed.notices) (notice.level === "warning" ? warning : info)(notice.text);
    return parsed.ok ? parsed.services : fatal(parsed.error);
  }

  #activate(service: MasterService): void {
    const running = new RunningService(this, service);
    this.#services.set(keyOf(service), running);
    running.open();
  }

  /** Starts processes where clients wait and nobody is idle. */
  poll(): void {
    for (const service of clientsWait([...this.#services.values()].filter(({ watching }) => watching)))
      service.spawn();
  }

  /** A process is about to ask the service that has this number. */
  startAhead(expectation: number): void {
    for (const service of this.#services.values())
      if (service.expectation === expectation) service.startAhead();
  }

  /** Whether a process is a daemon of ours. */
  owns(pid: number): boolean {
    return [...this.#services.values()].some((service) => service.has(pid));
  }
  /** A signal stopped a process. */
  stopped(pid: number, signal: number): void {
    for (const service of this.#services.values()) service.stopped(pid, signal);
  }

  /** SIGHUP: new settings for the services that stay, new ones started, others removed. */
  reload(): void {
    info(`reload -- version ${parameter("mail_version")}, configuration ${configuration().directory}`);
    reconfigure();
    const seen = new Set<string>();
    const interfacesChanged = parameter("inet_interfaces") !== this.#interfaces;
    for (const service of this.#readServices()) {
      const key = keyOf(service);
      seen.add(key);
      const running = this.#services.get(key);
      if (running === undefined) {
        this.#activate(service);
        continue;
      }
      if (interfacesChanged && service.type === "inet") {
        warning(`service ${service.name}: ignoring inet_interfaces change`);
        warning("to change inet_interfaces, stop and start Postfix");
      }
      running.update(service);
    }
    for (const [key, running] of this.#services) {
      if (seen.has(key)) continue;
      this.#services.delete(key);
      running.remove();
    }
    setupLogging({ program: "master", fallback: true }, configuration());
    this.poll();
  }
}

/** Those of the services that clients wait for. */
function clientsWait(services: ReadonlyArray<RunningService>): ReadonlyArray<RunningService> {
  const ready = readableNow(services.flatMap((service) => service.listeners));
  return ready.size === 0 ? [] : services.filter(({ listeners }) => listeners.some((fd) => ready.has(fd)));
}

const keyOf = (service: MasterService): string => `${service.type}:${service.canonicalName}`;
