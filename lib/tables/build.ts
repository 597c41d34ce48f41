/** Building the index of a table from its source: in memory first, then in one step (postmap, postalias). */
import { parameter } from "../config/configuration.ts";
import { fatal } from "../log/log.ts";
import { lowerAscii } from "../sys/bytes.ts";
import { errorCode, errorText } from "../sys/errno.ts";
import type { Soon } from "../sys/when.ts";
import { type BuildMode, type IndexTarget, openTarget } from "./build_targets.ts";
import { IndexError } from "./formats/index.ts";
import { isLegacyType, logRedirect, mapLegacyType } from "./migration.ts";
import { openTable } from "./open.ts";
import { tableType } from "./registry.ts";
import type { PlainRecord } from "./source.ts";
import {
  ABSENT,
  DONE,
  type LookupResult,
  type StoreResult,
  type Table,
  TableFlag,
  TableOpenError,
  TRUSTED,
  UNCHANGED,
} from "./table.ts";
import { resolveDuplicate } from "./types/indexed.ts";
import { foldFixedKey } from "./types/memory.ts";
import { Utf8Table } from "./utf8.ts";

export interface IndexBuilder {
  /** `type:name` as it is built, after redirection. */
  readonly name: string;
  /** Adds a record; keys are checked and folded as the flags say, duplicates reported. */
  add(key: string, value: string): Soon<StoreResult>;
  /** The same for a record of printable ASCII; a table that is no index has nothing like it. */
  addPlain?(record: PlainRecord): StoreResult;
  /** Adds a record with key and value as they are, replacing. */
  addRaw(key: string, value: string): Soon<void>;
  /** Writes the index. */
  finish(): Promise<void>;
}

/** Starts building `type:name`; every fault is fatal. Resolves hash and btree under non_bdb_migration_level. */
export async function openBuilder(
  type: string,
  name: string,
  mode: BuildMode,
  flags: number,
): Promise<IndexBuilder> {
  const actual = await buildType(type, name);
  const entry = tableType(actual);
  if (entry === undefined) fatal(`unsupported map type: ${actual}`);
  if (entry.load === undefined) fatal(`unsupported map type: ${actual} (not part of this build)`);
  if (entry.indexSuffix === undefined) {
    if (mode === "rebuild") fatal(`no 'map create' support for this type: ${actual}`);
    return new OpenedTable(await openTable(`${actual}:${name}`, { access: "create", flags }));
  }
  try {
    return new Builder(`${actual}:${name}`, await openTarget(actual, name, mode), flags);
  } catch (failure) {
    return fail(failure, `open database ${name}${entry.indexSuffix}`);
  }
}

/** The type whose index is built for `type:name`. */
export async function buildType(type: string, name: string): Promise<string> {
  if (!isLegacyType(type) || parameter("non_bdb_migration_level") === "disable") return type;
  const mapping = await mapLegacyType(type, name);
  if (!mapping.ok) fatal(`non_bdb migration mapping lookup error for '${type}': ${mapping.problem}`);
  logRedirect(type, name, mapping.type);
  return mapping.type;
}

function fail(failure: unknown, what: string): never {
  if (failure instanceof IndexError) return fatal(`${what}: ${failure.message}`);
  if (errorCode(failure) !== undefined) return fatal(`${what}: ${errorText(failure)}`);
  // a table that cannot be opened explains itself
  if (failure instanceof TableOpenError) return fatal(failure.message);
  throw failure;
}

/** The records of an index to be, as a table that can only be written. */
class RecordsTable implements Table {
  readonly fixed = true;
  readonly owner = TRUSTED;
  constructor(
    readonly name: string,
    public flags: number,
    private readonly target: IndexTarget,
  ) {}
  lookup(): LookupResult {
    return ABSENT;
  }
  update(key: string, value: string): StoreResult {
    const { convention, label, records } = this.target;
    const { flags } = this;
    const folded = foldFixedKey(flags, key);
    const added = records.add(folded, value, convention.stored(flags), () =>
      resolveDuplicate(flags, label, folded),
    );
    return added ? DONE : UNCHANGED;
  }
  updatePlain(record: PlainRecord): StoreResult {
    const { convention, label, records } = this.target;
    const { flags } = this;
    const fold = (flags & TableFlag.fold_fix) !== 0;
    const added = records.addPlain(record, fold, convention.stored(flags), () => {
      const key = record.bytes.toString("latin1", record.keyStart, record.keyEnd);
      return resolveDuplicate(flags, label, fold ? lowerAscii(key) : key);
    });
    return added ? DONE : UNCHANGED;
  }
  changed(): boolean {
    return false;
  }
  close(): void {}
}

class Builder implements IndexBuilder {
  private readonly plain: RecordsTable;
  private readonly checked: Table;
  constructor(
    readonly name: string,
    private readonly target: IndexTarget,
    flags: number,
  ) {
    this.plain = new RecordsTable(name, target.convention.initial(flags), target);
    const utf8 = (flags & TableFlag.utf8_request) !== 0 && parameter("smtputf8_enable") === true;
    this.checked = utf8 ? new Utf8Table(this.plain) : this.plain;
  }
  add(key: string, value: string): Soon<StoreResult> {
    return this.checked.update?.(key, value) ?? UNCHANGED;
  }
  addPlain(record: PlainRecord): StoreResult {
    return this.plain.updatePlain(record);
  }
  addRaw(key: string, value: string): void {
    const { convention, records } = this.target;
    records.add(key, value, convention.stored(this.plain.flags), () => true);
  }
  async finish(): Promise<void> {
    const release = holdSignals();
    try {
      await this.target.write();
    } catch (failure) {
      const index = failure instanceof IndexError && this.name.startsWith("lmdb:");
      fail(failure, index ? `error updating ${this.name}` : `table ${this.name}: write error`);
    } finally {
      release();
      this.target.close();
    }
  }
}

/** A table of a type without an index file: each record is an update of its own. */
class OpenedTable implements IndexBuilder {
  readonly name: string;
  constructor(private readonly table: Table) {
    this.name = table.name;
  }
  async add(key: string, value: string): Promise<StoreResult> {
    const result = (await this.table.update?.(key, value)) ?? UNCHANGED;
    if (result.kind !== "error") return result;
    const text = `table ${this.name}: write error`;
    return fatal(result.error === "config" ? text : `${text}: ${result.reason ?? "Application error"}`);
  }
  async addRaw(key: string, value: string): Promise<void> {
    await this.add(key, value);
  }
  finish(): Promise<void> {
    this.table.close();
    return Promise.resolve();
  }
}

/** Signals wait until the index is complete. */
function holdSignals(): () => void {
  const held: NodeJS.Signals[] = [];
  const names: NodeJS.Signals[] = ["SIGHUP", "SIGINT", "SIGTERM"];
  const hold = (signal: NodeJS.Signals): void => {
    held.push(signal);
  };
  for (const name of names) process.on(name, hold);
  return () => {
    for (const name of names) process.off(name, hold);
    for (const signal of held) process.kill(process.pid, signal);
  };
}
