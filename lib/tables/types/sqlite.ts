/** `sqlite:/path/file.cf` (sqlite_table(5)). */
import type { Database } from "bun:sqlite";
import { fatal, warning } from "../../log/log.ts";
import { decodeUtf8, encodeUtf8, fromBytes } from "../../sys/bytes.ts";
import { TableSettings } from "../cf.ts";
import { QueryGuard } from "../query_guard.ts";
import {
  ABSENT,
  found,
  type LookupResult,
  type OpenType,
  type Table,
  TableFlag,
  TableOpenError,
  type TableOwner,
} from "../table.ts";
import { joinResults, Template } from "../template.ts";

interface SqliteParts {
  readonly database: Database;
  readonly guard: QueryGuard;
  readonly query: Template;
  readonly result: Template;
  readonly expansionLimit: number;
  /** Settings file, for messages. */
  readonly title: string;
}

const message = (failure: unknown): string =>
  encodeUtf8(failure instanceof Error ? failure.message : String(failure));

/** Quotes for a literal between apostrophes. */
const quote = (text: string): string => text.replaceAll("'", "''");

class SqliteTable implements Table {
  readonly fixed = true;
  constructor(
    readonly name: string,
    public flags: number,
    readonly owner: TableOwner,
    private readonly parts: SqliteParts,
  ) {}

  async lookup(key: string): Promise<LookupResult> {
    const { guard, query, result, expansionLimit, title } = this.parts;
    const guarded = await guard.check(key, this.flags);
    if (guarded.kind === "error") return guarded;
    if (guarded.kind === "skip") return ABSENT;
    const sql = query.expand(guarded.key, guarded.key, quote);
    const text = sql === undefined ? undefined : decodeUtf8(sql);
    if (text === undefined) return ABSENT;
    const values = this.run(text);
    if (values === undefined) return { kind: "error", error: "retry" };
    const joined = joinResults(this.name, result, guarded.key, values, expansionLimit);
    if (joined.kind === "limit") {
      warning(`dict_sqlite_lookup: ${title}: Expansion limit exceeded for key '${guarded.key}'`);
      return { kind: "error", error: "retry" };
    }
    return joined.value === undefined ? ABSENT : found(joined.value);
  }

  /** The first column of each row; undefined when a step failed. */
  private run(sql: string): Array<string | undefined> | undefined {
    const { database, title } = this.parts;
    let statement: ReturnType<Database["prepare"]>;
    try {
      statement = database.prepare(sql);
    } catch (failure) {
      return fatal(`dict_sqlite_lookup: ${title}: SQL prepare failed: ${message(failure)}\n`);
    }
    try {
      return statement.values().map((row) => columnText(row[0]));
    } catch (failure) {
      warning(
        `dict_sqlite_lookup: ${title}: SQL step failed for query '${encodeUtf8(sql)}': ${message(failure)}\n`,
      );
      return undefined;
    } finally {
      statement.finalize();
    }
  }
  changed(): boolean {
    return false;
  }
  close(): void {
    this.parts.guard.close();
    this.parts.database.close();
  }
}

/** SQLite's text of a REAL value: 15 digits where they say it all, else 17. */
function realText(value: number): string {
  if (!Number.isFinite(value)) return value > 0 ? "Inf" : "-Inf";
  const digits = Number(value.toPrecision(15)) === value ? 15 : 17;
  const [mantissa = "", power = ""] = value.toExponential(digits - 1).split("e");
  const exponent = Number(power);
  if (exponent >= -4 && exponent <= 16)
    return withoutZeros(value.toFixed(Math.max(1, digits - 1 - exponent)));
  const sign = exponent < 0 ? "-" : "+";
  return `${withoutZeros(mantissa)}e${sign}${String(Math.abs(exponent)).padStart(2, "0")}`;
}

/** A decimal without zeros at its end, but for the one behind its point. */
function withoutZeros(text: string): string {
  let end = text.length;
  while (text.endsWith("0", end) && !text.endsWith(".0", end)) end--;
  return text.slice(0, end);
}

function columnText(value: unknown): string | undefined {
  if (value === null || value === undefined) return undefined;
  if (value instanceof Uint8Array) return fromBytes(value);
  return encodeUtf8(typeof value === "number" ? realText(value) : String(value));
}

/** The first code of a query that does not stand between apostrophes: text from the key would be taken for SQL there. */
function unquotedCode(query: string): string | undefined {
  let quoted = false;
  for (let i = 0; i < query.length; i++) {
    const char = query.charAt(i);
    if (char === "'") quoted = !quoted;
    else if (char === "%" && query.charAt(++i) !== "%" && !quoted) return query.slice(i - 1, i + 1);
  }
  return undefined;
}

export const openSqlite: OpenType = async (name, options) => {
  const settings = TableSettings.open(name);
  const { title } = settings;
  const tableName = `sqlite:${name}`;
  const path = settings.text("dbpath", "", 1);
  const result = Template.parse(title, settings.text("result_format", "%s"), "result");
  const query = Template.parse(title, queryText(settings), "query");
  const unquoted = unquotedCode(query.text);
  if (unquoted !== undefined)
    warning(`${tableName}: query >${query.text}< contains >${unquoted}< without the recommended '' quotes`);
  const expansionLimit = settings.number("expansion_limit", 0, 0);
  const guard = await QueryGuard.open(tableName, settings, result);
  const { Database } = await import("bun:sqlite");
  let database: Database;
  try {
    database = new Database(decodeUtf8(path) ?? path, { readonly: true, safeIntegers: true });
  } catch (failure) {
    throw new TableOpenError(`open ${path}: ${message(failure)}`);
  }
  const parts = { database, guard, query, result, expansionLimit, title };
  return new SqliteTable(tableName, options.flags | TableFlag.fixed, settings.owner, parts);
};

/** `query`, or the query that the old settings stand for. */
function queryText(settings: TableSettings): string {
  const query = settings.text("query", "");
  if (query !== "") return query;
  const table = settings.text("table", "", 1);
  const select = settings.text("select_field", "", 1);
  const where = settings.text("where_field", "", 1);
  const conditions = settings.text("additional_conditions", "");
  return `SELECT ${select} FROM ${table} WHERE ${where}='%s' ${conditions}`;
}
