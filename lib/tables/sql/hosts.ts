/** The servers of one SQL table: which one is asked, and which are left alone for a while after a failure. */
import { ConnectionPool } from "../servers/pool.ts";

/** A connection to an SQL server. */
export interface SqlConnection {
  /** One statement; the rows of its answer. Throws SqlProblem. */
  query(statement: string): Promise<SqlRows>;
  /** The text for a place between apostrophes; undefined when that cannot be done safely. */
  quote(text: string): string | undefined;
  /** The server has closed it. */
  broken(): boolean;
  close(): void;
}

/** Column values as byte strings; undefined = NULL. */
export type SqlRows = ReadonlyArray<ReadonlyArray<string | undefined>>;

/** What a server did wrong, as it is logged. */
export class SqlProblem extends Error {}

export interface SqlHostOptions {
  /** As configured. */
  readonly name: string;
  /** Servers on this machine come first. */
  readonly local: boolean;
  /** Connects. Throws SqlProblem. */
  open(): Promise<SqlConnection>;
}

export interface SqlHostsOptions {
  readonly hosts: ReadonlyArray<SqlHostOptions>;
  /** Seconds for which a failed server is left alone. */
  readonly retryInterval: number;
  /** Seconds after which an unused connection is closed. */
  readonly idleInterval: number;
  readonly connectionLimit: number;
}

class SqlHost {
  failedUntil = 0;
  readonly pool: ConnectionPool<SqlConnection>;
  constructor(
    readonly options: SqlHostOptions,
    idleSeconds: number,
    limit: number,
  ) {
    this.pool = new ConnectionPool({
      open: () => options.open(),
      close: (connection) => connection.close(),
      broken: (connection) => connection.broken(),
      limit,
      idleSeconds,
      ageSeconds: 0,
    });
  }
}

export class SqlHosts {
  private readonly hosts: ReadonlyArray<SqlHost>;
  constructor(private readonly options: SqlHostsOptions) {
    const { hosts, idleInterval, connectionLimit } = options;
    // a server that is the only one gets a second chance at once
    const list = hosts.length === 1 ? [...hosts, ...hosts] : hosts;
    this.hosts = list.map((host) => new SqlHost(host, idleInterval, connectionLimit));
  }

  /** Runs an exchange with one server after the other until one succeeds; `complain` hears of the others. Undefined when none is left. */
  async run<T>(
    exchange: (connection: SqlConnection, host: string) => Promise<T>,
    complain: (problem: SqlProblem, host: string) => void,
  ): Promise<{ readonly value: T } | undefined> {
    for (;;) {
      const host = this.choose();
      if (host === undefined) return undefined;
      const { name } = host.options;
      try {
        return { value: await host.pool.run((connection) => exchange(connection, name)) };
      } catch (failure) {
        if (!(failure instanceof SqlProblem)) throw failure;
        complain(failure, name);
        host.failedUntil = performance.now() + this.options.retryInterval * 1000;
        host.pool.closeIdle();
      }
    }
  }

  /** Connected servers before others, servers on this machine before others, by chance among equals. */
  private choose(): SqlHost | undefined {
    const now = performance.now();
    const usable = this.hosts.filter((host) => host.failedUntil <= now);
    for (const connected of [true, false])
      for (const local of [true, false]) {
        const equals = usable.filter(
          (host) => host.pool.connected === connected && host.options.local === local,
        );
        if (equals.length > 0) return equals[Math.floor(Math.random() * equals.length)];
      }
    return undefined;
  }

  close(): void {
    for (const host of this.hosts) host.pool.close();
  }
}
