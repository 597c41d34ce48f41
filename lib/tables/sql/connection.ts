/** Connections to SQL servers with Bun.SQL: one each, the server's own text of every value. */

import { encodeUtf8, fromBytes } from "../../sys/bytes.ts";
import { errorText } from "../../sys/errno.ts";
import { type SqlConnection, SqlProblem, type SqlRows } from "./hosts.ts";

type BunSql = import("bun").SQL;
export type BunSqlOptions = import("bun").SQL.PostgresOrMySQLOptions;

/** Seconds for making a connection. */
export const CONNECT_SECONDS = 30;
/** Seconds for one answer; a server that takes longer counts as failed. */
const ANSWER_SECONDS = 100;

/** The rows of one statement, and how many columns it has; none = it gives no rows at all. */
export interface ResultSet {
  readonly rows: SqlRows;
  readonly columns: number;
}

/** What a driver's error says, as a byte string; PostgreSQL's come with a severity. */
export function problemText(failure: unknown): string {
  const text = encodeUtf8(errorText(failure));
  const severity =
    typeof failure === "object" && failure !== null && "severity" in failure ? failure.severity : undefined;
  return typeof severity === "string" ? `${encodeUtf8(severity)}:  ${text}` : text;
}

type RawRow = ReadonlyArray<Uint8Array | null>;
type RawResult = ReadonlyArray<RawRow> & { readonly columns?: ReadonlyArray<unknown> };

/** A result set is itself an array of rows, and several of them are an array of result sets; only a result set knows its columns. */
function resultSets(raw: RawResult | ReadonlyArray<RawResult>): ResultSet[] {
  const sets = "columns" in raw && raw.columns !== undefined ? [raw as RawResult] : (raw as RawResult[]);
  return sets.map((set) => ({
    columns: set.columns?.length ?? 0,
    rows: Array.from(set, (row) => row.map((value) => (value === null ? undefined : fromBytes(value)))),
  }));
}

export class BunConnection {
  private readonly sql: BunSql;
  private closed = false;

  private constructor(options: BunSqlOptions) {
    this.sql = new Bun.SQL({
      ...options,
      max: 1,
      connectionTimeout: CONNECT_SECONDS,
      idleTimeout: 0,
      onclose: () => {
        this.closed = true;
      },
    });
  }

  /** Connects. Throws the driver's error. */
  static async open(options: BunSqlOptions): Promise<BunConnection> {
    const connection = new BunConnection(options);
    try {
      await connection.sql.connect();
      return connection;
    } catch (failure) {
      connection.close();
      throw failure;
    }
  }

  /** Sends one text and reads all that comes back. Throws the driver's error. */
  async send(statement: string): Promise<ResultSet[]> {
    const answer = this.sql.unsafe(statement).simple().raw();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(new SqlProblem(`no answer within ${ANSWER_SECONDS} seconds`));
        this.close();
      }, ANSWER_SECONDS * 1000);
    });
    try {
      return resultSets(await Promise.race([answer, late]));
    } finally {
      clearTimeout(timer);
    }
  }

  broken(): boolean {
    return this.closed;
  }

  close(): void {
    this.closed = true;
    // nothing waits for the server's part of the farewell
    this.sql.close({ timeout: 0 }).catch(() => undefined);
  }
}

/** A driver's part of a connection: what its answers mean and how its texts are quoted. */
export interface Dialect {
  quote(text: string): string | undefined;
  /** The rows that a lookup uses. Throws SqlProblem. */
  rows(sets: ReadonlyArray<ResultSet>): SqlRows;
  /** What to log about a failed query. */
  failed(reason: string): string;
}

export const sqlConnection = (connection: BunConnection, dialect: Dialect): SqlConnection => ({
  quote: (text) => dialect.quote(text),
  broken: () => connection.broken(),
  close: () => connection.close(),
  query: async (statement) => {
    try {
      return dialect.rows(await connection.send(statement));
    } catch (failure) {
      if (failure instanceof SqlProblem) throw new SqlProblem(dialect.failed(failure.message));
      throw new SqlProblem(dialect.failed(problemText(failure)));
    }
  },
});
