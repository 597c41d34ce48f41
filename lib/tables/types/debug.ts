/** `debug:type:name`: logs every operation on another table. */
import { info } from "../../log/log.ts";
import type { Soon } from "../../sys/when.ts";
import { openTable } from "../open.ts";
import type { LookupResult, OpenType, SequenceResult, StoreResult, Table, TableOwner } from "../table.ts";

const shown = (result: LookupResult): string =>
  result.kind === "found" ? result.value : result.kind === "absent" ? "not_found" : "error";
const status = (result: StoreResult): string =>
  result.kind === "done" ? "success" : result.kind === "unchanged" ? "failed" : "error";

class DebugTable implements Table {
  readonly name: string;
  readonly update?: (key: string, value: string) => Soon<StoreResult>;
  readonly remove?: (key: string) => Soon<StoreResult>;
  readonly sequence?: (position: "first" | "next") => Soon<SequenceResult>;

  constructor(private readonly table: Table) {
    this.name = `debug:${table.name}`;
    const { update, remove, sequence } = table;
    if (update !== undefined)
      this.update = async (key, value) => {
        const result = await update.call(table, key, value);
        info(`${table.name} update: "${key}" = "${value}": ${status(result)}`);
        return result;
      };
    if (remove !== undefined)
      this.remove = async (key) => {
        const result = await remove.call(table, key);
        info(`${table.name} delete: "${key}": ${status(result)}`);
        return result;
      };
    if (sequence !== undefined)
      this.sequence = async (position) => {
        const result = await sequence.call(table, position);
        if (result.kind === "found") info(`${table.name} sequence: "${result.key}" = "${result.value}"`);
        else info(`${table.name} sequence: ${result.kind === "absent" ? "found EOF" : "error"}`);
        return result;
      };
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
  async lookup(key: string): Promise<LookupResult> {
    const result = await this.table.lookup(key);
    info(`${this.table.name} lookup: "${key}" = "${shown(result)}"`);
    return result;
  }
  /** The member is a registered table and is looked at itself. */
  changed(): boolean {
    return false;
  }
  close(): void {
    this.table.close();
  }
}

export const openDebug: OpenType = async (name, options) =>
  new DebugTable(await openTable(name, { access: options.access, flags: options.flags }));
