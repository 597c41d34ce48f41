/** A lookup table that an SQL server answers (mysql_table(5), pgsql_table(5)). */
import { warning } from "../../log/log.ts";
import { decodeUtf8, isValidUtf8 } from "../../sys/bytes.ts";
import type { TableSettings } from "../cf.ts";
import { QueryGuard } from "../query_guard.ts";
import {
  ABSENT,
  found,
  type LookupResult,
  RETRY,
  type Table,
  TableFlag,
  TableOpenError,
  type TableOwner,
  type TypeOptions,
} from "../table.ts";
import { joinResults, Template } from "../template.ts";
import { type SqlHosts, SqlProblem } from "./hosts.ts";

export interface SqlTableOptions {
  /** `mysql` or `pgsql`. */
  readonly type: string;
  /** What follows the colon. */
  readonly name: string;
  readonly settings: TableSettings;
  readonly hosts: SqlHosts;
  /** The query when none is configured. */
  readonly defaultQuery: () => string;
  /** An empty text stands for NULL. */
  readonly nullIsEmpty: boolean;
}

export class SqlTable implements Table {
  readonly fixed = true;
  readonly name: string;
  readonly owner: TableOwner;
  private constructor(
    private readonly options: SqlTableOptions,
    private readonly guard: QueryGuard,
    private readonly query: Template,
    private readonly result: Template,
    private readonly expansionLimit: number,
    public flags: number,
  ) {
    this.name = `${options.type}:${options.name}`;
    this.owner = options.settings.owner;
  }

  static async open(options: SqlTableOptions, { flags }: TypeOptions): Promise<SqlTable> {
    const { settings } = options;
    const text = settings.text("query", "") || options.defaultQuery();
    if (!isValidUtf8(text)) throw new TableOpenError(`${settings.title}: the query is not valid UTF-8`);
    const query = Template.parse(settings.title, text, "query");
    const result = Template.parse(settings.title, settings.text("result_format", "%s"), "result");
    const expansionLimit = settings.number("expansion_limit", 0, 0);
    const guard = await QueryGuard.open(`${options.type}:${options.name}`, settings, result);
    return new SqlTable(options, guard, query, result, expansionLimit, flags | TableFlag.fixed);
  }

  async lookup(key: string): Promise<LookupResult> {
    const guarded = await this.guard.check(key, this.flags);
    if (guarded.kind === "error") return guarded;
    if (guarded.kind === "skip") return ABSENT;
    // whether the key has what the template needs does not depend on the server
    if (this.query.expand(guarded.key, guarded.key) === undefined) return ABSENT;
    const { hosts, type, settings, nullIsEmpty } = this.options;
    const answer = await hosts.run(
      async (connection, host) => {
        const quote = (text: string): string => {
          const quoted = connection.quote(text);
          if (quoted === undefined)
            throw new SqlProblem(`dict_${type}: host (${host}) cannot escape input string: >${text}<`);
          return quoted;
        };
        const statement = decodeUtf8(this.query.expand(guarded.key, guarded.key, quote) ?? "");
        return statement === undefined ? [] : await connection.query(statement);
      },
      (problem) => warning(problem.message),
    );
    if (answer === undefined) return RETRY;
    const values = answer.value.flat().map((value) => (nullIsEmpty ? (value ?? "") : value));
    const joined = joinResults(this.name, this.result, guarded.key, values, this.expansionLimit);
    if (joined.kind === "limit") {
      warning(`dict_${type}_lookup: ${settings.title}: Expansion limit exceeded for key: '${guarded.key}'`);
      return RETRY;
    }
    return joined.value === undefined ? ABSENT : found(joined.value);
  }
  changed(): boolean {
    return false;
  }
  close(): void {
    this.guard.close();
    this.options.hosts.close();
  }
}

/** The query that the settings of old stand for. */
export function oldQuery(settings: TableSettings): string {
  const table = settings.text("table", "", 1);
  const select = settings.text("select_field", "", 1);
  const where = settings.text("where_field", "", 1);
  const conditions = settings.text("additional_conditions", "");
  return `SELECT ${select} FROM ${table} WHERE ${where}='%s' ${conditions}`;
}
