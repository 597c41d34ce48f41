/** The UTF-8 layer of a table (flag utf8_request with smtputf8_enable): checks keys and values, folds keys by Unicode rules. */
import { warning } from "../log/log.ts";
import { isAscii, isFoldedAscii, isValidUtf8 } from "../sys/bytes.ts";
import type { Soon } from "../sys/when.ts";
import { foldCase } from "./casefold.ts";
import {
  ABSENT,
  CONFIG,
  DONE,
  type LookupResult,
  type SequenceResult,
  type StoreResult,
  type Table,
  TableFlag,
  type TableOwner,
} from "./table.ts";

const BAD = "malformed UTF-8 or invalid codepoint";
const valid = (text: string): boolean => isAscii(text) || isValidUtf8(text);

export class Utf8Table implements Table {
  readonly name: string;
  readonly update?: (key: string, value: string) => Soon<StoreResult>;
  readonly remove?: (key: string) => Soon<StoreResult>;
  readonly sequence?: (position: "first" | "next") => Soon<SequenceResult>;

  constructor(private readonly table: Table) {
    this.name = table.name;
    table.flags |= TableFlag.utf8_active;
    const { update, remove, sequence } = table;
    if (update !== undefined)
      this.update = (key, value) => this.checkedUpdate(key, value, update.bind(table));
    if (remove !== undefined) this.remove = (key) => this.checkedRemove(key, remove.bind(table));
    if (sequence !== undefined) this.sequence = sequence.bind(table);
  }
  get fixed(): boolean {
    return this.table.fixed;
  }
  get owner(): TableOwner {
    return this.table.owner;
  }
  get flags(): number {
    return this.table.flags;
  }
  set flags(flags: number) {
    this.table.flags = flags;
  }

  lookup(key: string): Soon<LookupResult> {
    if ((this.table.flags & TableFlag.utf8_active) === 0) return this.table.lookup(key);
    let folded = key;
    if (!isFoldedAscii(key)) {
      if (!valid(key)) {
        this.warnKey(key);
        return ABSENT;
      }
      folded = this.fold(key);
    }
    const answer = this.table.lookup(folded);
    return answer instanceof Promise
      ? answer.then((result) => this.checkedResult(key, result))
      : this.checkedResult(key, answer);
  }

  private checkedResult(key: string, result: LookupResult): LookupResult {
    if (result.kind !== "found" || valid(result.value)) return result;
    this.warnValue(key, result.value);
    return CONFIG;
  }

  private checkedUpdate(
    key: string,
    value: string,
    update: (key: string, value: string) => Soon<StoreResult>,
  ): Soon<StoreResult> {
    if ((this.table.flags & TableFlag.utf8_active) === 0) return update(key, value);
    const asIs = isFoldedAscii(key);
    if (!asIs && !valid(key)) {
      this.warnKey(key);
      return DONE;
    }
    if (!valid(value)) {
      this.warnValue(key, value);
      return DONE;
    }
    return update(asIs ? key : this.fold(key), value);
  }

  private checkedRemove(key: string, remove: (key: string) => Soon<StoreResult>): Soon<StoreResult> {
    if ((this.table.flags & TableFlag.utf8_active) === 0) return remove(key);
    if (!valid(key)) {
      this.warnKey(key);
      return DONE;
    }
    return remove(this.fold(key));
  }

  private fold(key: string): string {
    const wanted = this.table.fixed ? TableFlag.fold_fix : TableFlag.fold_mul;
    return (this.flags & wanted) !== 0 ? foldCase(key, true) : key;
  }
  private warnKey(key: string): void {
    warning(`${this.name}: non-UTF-8 key "${key}": ${BAD}`);
  }
  private warnValue(key: string, value: string): void {
    warning(`${this.name}: key "${key}": non-UTF-8 value "${value}": ${BAD}`);
  }
  changed(): boolean {
    return this.table.changed();
  }
  close(): void {
    this.table.close();
  }
}
