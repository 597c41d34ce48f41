/** Tables that daemons keep results in: verify(8), postscreen(8) (tables.md 18). Failures are warned about, once a second at most. */
import { warning } from "../log/log.ts";
import { readDecimal } from "../sys/numbers.ts";
import { asMailOwner, cacheLocation } from "./cache_location.ts";
import { openTable } from "./open.ts";
import { type LookupResult, type SequenceResult, type Table, TableFlag } from "./table.ts";

const LAST_SWEEP = "_LAST_CACHE_CLEANUP_COMPLETED_";
const FLAGS = TableFlag.dup_replace | TableFlag.sync_update | TableFlag.open_lock | TableFlag.utf8_request;
const ABSENT = { kind: "absent" } as const;

export class CacheDatabase {
  /** `type:path`. */
  readonly name: string;
  /** A sweep is about to delete this entry. */
  #doomed: string | undefined;
  readonly #complaints = new Map<string, number>();

  constructor(private readonly table: Table) {
    this.name = table.name;
  }

  /** Opens or creates the table, as the mail owner: to be called as root, outside the jail. An empty `spec` means one in memory, under the name `memory`. */
  static async open(spec: string, memory: string): Promise<CacheDatabase> {
    if (spec === "")
      return new CacheDatabase(await openTable(`internal:${memory}`, { flags: FLAGS, access: "create" }));
    const location = cacheLocation(spec);
    return new CacheDatabase(
      await asMailOwner(() => openTable(location, { flags: FLAGS, access: "create" })),
    );
  }

  async lookup(key: string): Promise<LookupResult> {
    if (key === this.#doomed) return ABSENT;
    const result = await this.table.lookup(key);
    if (result.kind === "error")
      this.#complain("lookup", `${this.name}: cache lookup for '${key}' failed due to error`);
    return result;
  }

  /** True when the entry was stored. */
  async update(key: string, value: string): Promise<boolean> {
    if (key === this.#doomed) this.#doomed = undefined;
    const result = await this.table.update?.(key, value);
    if (result !== undefined && result.kind !== "error") return true;
    this.#complain("update", `${this.name}: could not update entry for ${key}`);
    return false;
  }

  /** True when the entry is gone, by this or before. */
  async remove(key: string): Promise<boolean> {
    const result = await this.table.remove?.(key);
    if (result !== undefined && result.kind !== "error") return true;
    this.#complain("remove", `${this.name}: could not delete entry for ${key}`);
    return false;
  }

  /** The next entry that is not the cache's own. */
  async sequence(position: "first" | "next"): Promise<SequenceResult> {
    for (let at = position; ; at = "next") {
      const result: SequenceResult = (await this.table.sequence?.(at)) ?? ABSENT;
      if (result.kind === "error") this.#complain("sequence", `${this.name}: sequence error`);
      if (result.kind !== "found" || result.key !== LAST_SWEEP) return result;
    }
  }

  /** The entry will be deleted: lookups do not find it any more, an update saves it. */
  doom(key: string): void {
    this.#doomed = key;
  }
  /** Deletes it unless it was saved; true when it was deleted. */
  async removeDoomed(key: string): Promise<boolean> {
    if (this.#doomed !== key) return false;
    const removed = await this.remove(key);
    this.#doomed = undefined;
    return removed;
  }

  async lastSweep(): Promise<number | undefined> {
    const result = await this.table.lookup(LAST_SWEEP);
    return result.kind === "found" ? readDecimal(result.value, Number.MAX_SAFE_INTEGER) : undefined;
  }
  async noteSweep(time: number): Promise<void> {
    await this.update(LAST_SWEEP, String(time));
  }

  close(): void {
    this.table.close();
  }

  #complain(kind: string, text: string): void {
    const now = performance.now();
    if (now - (this.#complaints.get(kind) ?? Number.NEGATIVE_INFINITY) < 1000) return;
    this.#complaints.set(kind, now);
    warning(text);
  }
}
