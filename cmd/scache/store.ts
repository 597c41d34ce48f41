/** Connections that wait for their next user, by endpoint, and what leads from destinations to endpoints (delivery.md 12.3). */
import { after, type Timer } from "../../lib/sys/timers.ts";

/** An idle connection: who closes it, and who takes it. */
export interface IdleConnection {
  /** A descriptor for the next user; undefined when the server has closed the connection or said something. */
  release(): number | undefined;
  close(): void;
  /** Calls back once when the connection is of no use any more. */
  onceSpoilt(listener: () => void): void;
}

interface Endpoint {
  readonly label: string;
  readonly property: string;
  readonly connection: IdleConnection;
  timer: Timer | undefined;
}

interface Destination {
  readonly label: string;
  readonly property: string;
  readonly endpoint: string;
  timer: Timer | undefined;
}

export interface Sizes {
  readonly destinations: number;
  readonly endpoints: number;
  readonly connections: number;
}

export interface FoundEndpoint {
  readonly fd: number;
  readonly property: string;
}

/** Bounds for what clients may leave here: how many of each kind, and characters of one. */
export const CAPACITY = 10_000;
const TEXT_LIMIT = 4096;

/** What no client of ours says: endpoints are a service and an address, properties some numbers and names. */
const isTooLong = (...texts: ReadonlyArray<string>): boolean =>
  texts.reduce((length, text) => length + text.length, 0) > TEXT_LIMIT;

export class ConnectionStore {
  readonly #endpoints = new Map<string, Endpoint[]>();
  readonly #destinations = new Map<string, Destination[]>();
  #connections = 0;
  #links = 0;

  /** `ttlLimit` in seconds; `connectionLimit`: how many connections there are descriptors for. */
  constructor(
    private readonly ttlLimit: number,
    private readonly connectionLimit: number,
  ) {}

  get sizes(): Sizes {
    return {
      destinations: this.#destinations.size,
      endpoints: this.#endpoints.size,
      connections: this.#connections,
    };
  }

  /** Keeps a connection for `ttl` seconds at most; false when there is no room. */
  saveEndpoint(ttl: number, label: string, property: string, connection: IdleConnection): boolean {
    if (this.#connections >= this.connectionLimit || isTooLong(label, property)) return false;
    const endpoint: Endpoint = { label, property, connection, timer: undefined };
    endpoint.timer = after(Math.min(ttl, this.ttlLimit), () => this.#discard(endpoint));
    append(this.#endpoints, label, endpoint);
    this.#connections++;
    connection.onceSpoilt(() => this.#discard(endpoint));
    return true;
  }

  /** Remembers for `ttl` seconds at most that connections to `endpoint` serve a destination. */
  saveDestination(ttl: number, label: string, property: string, endpoint: string): boolean {
    if (isTooLong(label, property, endpoint)) return false;
    const same = this.#destinations
      .get(label)
      ?.find((entry) => entry.endpoint === endpoint && entry.property === property);
    if (same !== undefined) this.#forget(same);
    if (this.#links >= CAPACITY) return false;
    const destination: Destination = { label, property, endpoint, timer: undefined };
    destination.timer = after(Math.min(ttl, this.ttlLimit), () => this.#forget(destination));
    append(this.#destinations, label, destination);
    this.#links++;
    return true;
  }

  /** The oldest connection to an endpoint: it is the caller's alone then. */
  findEndpoint(label: string): FoundEndpoint | undefined {
    for (
      let oldest = this.#endpoints.get(label)?.[0];
      oldest !== undefined;
      oldest = this.#endpoints.get(label)?.[0]
    ) {
      this.#remove(oldest);
      const fd = oldest.connection.release();
      if (fd !== undefined) return { fd, property: oldest.property };
    }
    return undefined;
  }

  findDestination(label: string): (FoundEndpoint & { readonly destinationProperty: string }) | undefined {
    for (const { property, endpoint } of this.#destinations.get(label) ?? []) {
      const found = this.findEndpoint(endpoint);
      if (found !== undefined) return { ...found, destinationProperty: property };
    }
    return undefined;
  }

  #discard(endpoint: Endpoint): void {
    if (this.#remove(endpoint)) endpoint.connection.close();
  }
  #remove(endpoint: Endpoint): boolean {
    endpoint.timer?.cancel();
    if (!take(this.#endpoints, endpoint)) return false;
    this.#connections--;
    return true;
  }
  #forget(destination: Destination): void {
    destination.timer?.cancel();
    if (take(this.#destinations, destination)) this.#links--;
  }

  /** Closes everything. */
  clear(): void {
    for (const endpoints of [...this.#endpoints.values()])
      for (const endpoint of [...endpoints]) this.#discard(endpoint);
    for (const destinations of [...this.#destinations.values()])
      for (const destination of [...destinations]) this.#forget(destination);
  }
}

function append<T>(index: Map<string, T[]>, label: string, entry: T): void {
  const entries = index.get(label);
  if (entries === undefined) index.set(label, [entry]);
  else entries.push(entry);
}

function take<T extends { readonly label: string }>(index: Map<string, T[]>, entry: T): boolean {
  const entries = index.get(entry.label);
  const at = entries?.indexOf(entry) ?? -1;
  if (entries === undefined || at < 0) return false;
  entries.splice(at, 1);
  if (entries.length === 0) index.delete(entry.label);
  return true;
}
