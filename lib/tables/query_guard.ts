/** What every database table asks before it looks a key up: UTF-8, folding, the `domain` list. */
import { warning } from "../log/log.ts";
import { isValidUtf8 } from "../sys/bytes.ts";
import type { TableSettings } from "./cf.ts";
import { MatchList } from "./match.ts";
import { RETRY, type TableFailure, TableFlag } from "./table.ts";
import type { Template } from "./template.ts";
import { foldFixedKey } from "./types/memory.ts";

export type Guarded =
  | { readonly kind: "query"; readonly key: string }
  | { readonly kind: "skip" }
  | TableFailure;

export class QueryGuard {
  private constructor(
    private readonly tableName: string,
    private readonly domains: MatchList | undefined,
    private readonly result: Template,
  ) {}

  /** `result`: the template of the results, for what it takes from the key. */
  static async open(tableName: string, settings: TableSettings, result: Template): Promise<QueryGuard> {
    const value = settings.text("domain", "");
    const domains =
      value === "" ? undefined : await MatchList.open(`domain of ${settings.title}`, value, "string");
    return new QueryGuard(tableName, domains, result);
  }

  /** The key as it goes into the templates, or that it is not looked up. */
  async check(key: string, flags: number): Promise<Guarded> {
    if (key.includes("\0")) return { kind: "skip" };
    if ((flags & TableFlag.utf8_active) === 0 && !isValidUtf8(key)) return { kind: "skip" };
    const folded = foldFixedKey(flags, key);
    if (this.domains !== undefined) {
      const at = folded.lastIndexOf("@");
      if (at <= 0 || at === folded.length - 1) return { kind: "skip" };
      const result = await this.domains.matches(folded.slice(at + 1));
      if (result.kind === "error") {
        warning(`${this.tableName} 'domain' pattern match failed for '${folded}'`);
        return RETRY;
      }
      if (result.kind === "none") return { kind: "skip" };
    }
    if (folded === "") {
      warning(`table "${this.tableName}": empty query string -- ignored`);
      return { kind: "skip" };
    }
    if (!this.result.suits(folded)) return { kind: "skip" };
    return { kind: "query", key: folded };
  }
  close(): void {
    this.domains?.close();
  }
}
