/** An ordered list of tables: each key is tried in all of them before the next derived key is tried; the first result wins. */

import { splitBraced } from "../config/lists.ts";
import { warning } from "../log/log.ts";
import type { Soon } from "../sys/when.ts";
import { openTable } from "./open.ts";
import { ABSENT, CONFIG, type LookupResult, type Table, type TableFailure } from "./table.ts";

export type ListResult =
  | { readonly kind: "found"; readonly value: string; readonly table: Table }
  | { readonly kind: "absent" }
  | TableFailure;

export interface ListLookupOptions {
  /** Only tables with fixed keys: for a key that was derived from the full one. */
  readonly fixedOnly?: boolean;
  /** An empty result counts as found (alias_maps). */
  readonly allowEmpty?: boolean;
}

export class TableList {
  private constructor(
    /** The parameter's name, for log texts. */
    readonly title: string,
    readonly tables: ReadonlyArray<Table>,
  ) {}

  /** No table is configured. */
  get empty(): boolean {
    return this.tables.length === 0;
  }

  /** Opens the tables of a `$xxx_maps` value. `flags`: TableFlag bits, see section "flags per consumer" of docs/tables.md. */
  static async open(title: string, value: string, flags: number): Promise<TableList> {
    const tables: Table[] = [];
    for (const spec of splitBraced(value)) tables.push(await openTable(spec, { flags }));
    return new TableList(title, tables);
  }

  lookup(key: string, options: ListLookupOptions = {}): Soon<ListResult> {
    return key === "" ? ABSENT : this.lookupFrom(0, key, options);
  }

  private lookupFrom(start: number, key: string, options: ListLookupOptions): Soon<ListResult> {
    for (let index = start; index < this.tables.length; index++) {
      const table = this.tables[index];
      if (table === undefined || (options.fixedOnly === true && !table.fixed)) continue;
      const answer = table.lookup(key);
      if (answer instanceof Promise)
        return answer.then(
          (result) =>
            this.conclusion(table, key, result, options) ?? this.lookupFrom(index + 1, key, options),
        );
      const conclusion = this.conclusion(table, key, answer, options);
      if (conclusion !== undefined) return conclusion;
    }
    return ABSENT;
  }

  /** What one table's answer means for the list; undefined: the next one is asked. */
  private conclusion(
    table: Table,
    key: string,
    result: LookupResult,
    options: ListLookupOptions,
  ): ListResult | undefined {
    switch (result.kind) {
      case "absent":
        return undefined;
      case "found":
        if (result.value === "" && options.allowEmpty !== true) {
          warning(`${this.title} lookup of ${key} returns an empty string result`);
          warning(`${this.title} should return NO RESULT in case of NOT FOUND`);
          return CONFIG;
        }
        return { kind: "found", value: result.value, table };
      case "error":
        warning(`${table.name} lookup error for "${key}"`);
        return result;
    }
  }

  close(): void {
    for (const table of this.tables) table.close();
  }
}
