/** Counts of clients: sessions at a time, and events within a time unit. */

/** What is counted per time unit, in the order of the statistics and of the lookup reply. */
export const EVENTS = ["connection", "message", "recipient", "newtls", "auth", "tlstrace"] as const;
export type EventName = (typeof EVENTS)[number];

export interface Client {
  readonly ident: string;
  /** Connections now. */
  count: number;
  readonly rates: Record<EventName, number>;
  /** Start of the window in which the rates count, in milliseconds; 0 begins one at the next event. */
  windowStart: number;
  /** When the last connection ended. */
  idleSince: number;
}

/** The highest value of one statistic since the last report. */
export interface Peak {
  value: number;
  ident: string;
  /** Milliseconds since 1970. */
  at: number;
}

const emptyPeak = (): Peak => ({ value: 0, ident: "", at: 0 });

export interface Peaks {
  rates: Record<EventName, Peak>;
  count: Peak;
  cacheSize: Peak;
}

const emptyRates = (): Record<EventName, number> => ({
  connection: 0,
  message: 0,
  recipient: 0,
  newtls: 0,
  auth: 0,
  tlstrace: 0,
});

const emptyPeaks = (): Peaks => ({
  rates: {
    connection: emptyPeak(),
    message: emptyPeak(),
    recipient: emptyPeak(),
    newtls: emptyPeak(),
    auth: emptyPeak(),
    tlstrace: emptyPeak(),
  },
  count: emptyPeak(),
  cacheSize: emptyPeak(),
});

/** Clients that are remembered at a time. Past that, those who come first are forgotten first, once they have gone. */
const CAPACITY = 50_000;
/** Longest name of a client; smtpd's are service and address. */
const IDENT_LIMIT = 512;
/** A copy of its own, where it is cut: a part of a string keeps the whole in memory. */
const keyOf = (ident: string): string =>
  ident.length <= IDENT_LIMIT ? ident : Buffer.from(ident.slice(0, IDENT_LIMIT), "latin1").toString("latin1");
/** How many of the oldest are looked at for one that has gone. */
const LOOK_AT = 100;

export class Counters {
  private readonly clients = new Map<string, Client>();
  private peaks = emptyPeaks();

  constructor(
    /** Milliseconds. */
    private readonly unit: number,
    private readonly now: () => number = () => performance.now(),
    /** Milliseconds since the epoch, for the time of a peak. */
    private readonly wall: () => number = Date.now,
    private readonly capacity = CAPACITY,
  ) {}

  find(ident: string): Client | undefined {
    return this.clients.get(keyOf(ident));
  }

  /** The client's entry, made when there is none. */
  entry(name: string): Client {
    const ident = keyOf(name);
    let client = this.clients.get(ident);
    if (client === undefined) {
      if (this.clients.size >= this.capacity) this.makeRoom();
      client = { ident, count: 0, rates: emptyRates(), windowStart: 0, idleSince: this.now() };
      this.clients.set(ident, client);
      this.note(this.peaks.cacheSize, this.clients.size, ident);
    }
    return client;
  }

  /** A connection begins. */
  connect(client: Client): void {
    client.count++;
    this.note(this.peaks.count, client.count, client.ident);
  }

  /** A connection ends. */
  disconnect(client: Client): void {
    if (client.count === 0) return;
    client.count--;
    if (client.count === 0) client.idleSince = this.now();
  }

  /** Counts an event and gives the rate. */
  event(client: Client, name: EventName): number {
    const now = this.now();
    if (client.windowStart === 0 || now - client.windowStart > this.unit) {
      Object.assign(client.rates, emptyRates());
      client.windowStart = now;
    }
    const rate = ++client.rates[name];
    this.note(this.peaks.rates[name], rate, client.ident);
    return rate;
  }

  /** Brings the rates up to date without counting. */
  refresh(client: Client): void {
    if (client.windowStart === 0 || this.now() - client.windowStart <= this.unit) return;
    Object.assign(client.rates, emptyRates());
    client.windowStart = 0;
  }

  /** Forgets clients that have been gone for one time unit. */
  sweep(): void {
    const limit = this.now() - this.unit;
    for (const [ident, client] of this.clients)
      if (client.count === 0 && client.idleSince <= limit) this.clients.delete(ident);
  }

  /** Those who are connected stay: their number is bounded by connections. They become the latest, so that nobody looks at them again soon. */
  private makeRoom(): void {
    let looked = 0;
    for (const [ident, client] of this.clients) {
      this.clients.delete(ident);
      if (client.count === 0) return;
      this.clients.set(ident, client);
      if (++looked === LOOK_AT) return;
    }
  }

  get size(): number {
    return this.clients.size;
  }

  /** The peaks so far; they begin anew. */
  takePeaks(): Peaks {
    const { peaks } = this;
    this.peaks = emptyPeaks();
    return peaks;
  }

  private note(peak: Peak, value: number, ident: string): void {
    if (value <= peak.value) return;
    peak.value = value;
    peak.ident = ident;
    peak.at = this.wall();
  }
}
