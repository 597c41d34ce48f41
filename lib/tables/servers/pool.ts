/** A few kept connections to one server, each used by one lookup at a time. */
import { after, type Timer } from "../../sys/timers.ts";

export interface PoolOptions<C> {
  open(): Promise<C>;
  close(connection: C): void;
  /** The peer has gone away, as far as can be seen without asking. */
  broken?(connection: C): boolean;
  /** Connections used side by side by this process. */
  readonly limit: number;
  /** A connection is closed after this many seconds without use; 0 = never. */
  readonly idleSeconds: number;
  /** A connection is not used again when it is this many seconds old; 0 = no limit. */
  readonly ageSeconds: number;
}

interface Kept<C> {
  readonly connection: C;
  readonly opened: number;
  used: number;
}

/** As many lookups as one process has under way in one server at a time; more wait for their turn. */
export const POOL_LIMIT = 8;

export class ConnectionPool<C> {
  private idle: Kept<C>[] = [];
  private open = 0;
  private readonly waiting: Array<() => void> = [];
  private sweeper: Timer | undefined;

  constructor(private readonly options: PoolOptions<C>) {}

  /** A connection is open and could be used. */
  get connected(): boolean {
    return this.open > 0;
  }

  /**
   * Runs one exchange on a connection, opened if need be. When the exchange throws, its connection is closed. `fresh`: not on one that was kept,
   * since the kept ones are suspected to be dead.
   */
  async run<T>(exchange: (connection: C) => Promise<T>, fresh = false): Promise<T> {
    if (fresh) this.closeIdle();
    const kept = await this.take();
    let result: T;
    try {
      result = await exchange(kept.connection);
    } catch (failure) {
      this.drop(kept);
      throw failure;
    }
    this.give(kept);
    return result;
  }

  private async take(): Promise<Kept<C>> {
    for (;;) {
      const kept = this.idle.pop();
      if (kept !== undefined) {
        if (!this.expired(kept, performance.now())) return kept;
        this.drop(kept);
        continue;
      }
      if (this.open < this.options.limit) break;
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
    this.open++;
    try {
      const now = performance.now();
      return { connection: await this.options.open(), opened: now, used: now };
    } catch (failure) {
      this.open--;
      this.waiting.shift()?.();
      throw failure;
    }
  }

  private give(kept: Kept<C>): void {
    kept.used = performance.now();
    this.idle.push(kept);
    this.waiting.shift()?.();
    this.sweepLater();
  }

  private drop(kept: Kept<C>): void {
    this.open--;
    this.options.close(kept.connection);
    this.waiting.shift()?.();
  }

  private expired({ connection, opened, used }: Kept<C>, now: number): boolean {
    const { idleSeconds, ageSeconds, broken } = this.options;
    return (
      (idleSeconds > 0 && now - used >= idleSeconds * 1000) ||
      (ageSeconds > 0 && now - opened >= ageSeconds * 1000) ||
      broken?.(connection) === true
    );
  }

  private sweepLater(): void {
    const { idleSeconds } = this.options;
    if (idleSeconds === 0 || this.sweeper !== undefined) return;
    this.sweeper = after(
      idleSeconds,
      () => {
        this.sweeper = undefined;
        const now = performance.now();
        const old = this.idle.filter((kept) => this.expired(kept, now));
        this.idle = this.idle.filter((kept) => !old.includes(kept));
        for (const kept of old) this.drop(kept);
        if (this.idle.length > 0) this.sweepLater();
      },
      { background: true },
    );
  }

  /** Closes the connections that nobody uses now. */
  closeIdle(): void {
    const { idle } = this;
    this.idle = [];
    for (const kept of idle) this.drop(kept);
  }

  /** Closes the pool once its connections are free. */
  close(): void {
    this.sweeper?.cancel();
    this.closeIdle();
  }
}
