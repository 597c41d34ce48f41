/** `cdb:name`: NAME.cdb, a constant database. */
import { errorText } from "../../sys/errno.ts";
import { CdbReader } from "../formats/cdb.ts";
import { type Extent, IndexError } from "../formats/index.ts";
import { trouble } from "../policy.ts";
import {
  ABSENT,
  found,
  type LookupResult,
  type OpenType,
  type SequenceResult,
  type Table,
  TableFlag,
  TableOpenError,
  type TableOwner,
} from "../table.ts";
import {
  closeIndexFile,
  extentText,
  fileChanged,
  findKey,
  type IndexFile,
  openIndexFile,
  storedText,
  WITHOUT_NUL,
} from "./indexed.ts";

const reason = (failure: unknown): string =>
  failure instanceof IndexError ? failure.message : errorText(failure);

class CdbTable implements Table {
  readonly fixed = true;
  readonly owner: TableOwner;
  flags: number;
  private readonly reader: CdbReader;
  private cursor: Buffer | undefined;

  constructor(
    readonly name: string,
    flags: number,
    private readonly file: IndexFile,
  ) {
    this.flags = WITHOUT_NUL.initial(flags | TableFlag.fixed);
    this.owner = file.owner;
    this.reader = new CdbReader(file.content);
  }
  lookup(key: string): LookupResult {
    return this.guard("reading", () => {
      const value = findKey(this, key, this.find);
      return value === undefined ? ABSENT : found(extentText(value));
    });
  }
  private readonly find = (key: Buffer): Extent | undefined => this.reader.get(key);

  sequence(position: "first" | "next"): SequenceResult {
    if (position === "first") this.cursor = undefined;
    return this.guard("seeking", () => {
      const record = this.reader.after(this.cursor);
      if (record === undefined) return ABSENT;
      this.cursor = record.key;
      return { kind: "found", key: storedText(record.key), value: storedText(record.value) };
    });
  }
  private guard<R>(doing: string, find: () => R): R | ReturnType<typeof trouble> {
    try {
      return find();
    } catch (failure) {
      if (failure instanceof TypeError || failure instanceof RangeError) throw failure;
      return trouble(`error ${doing} ${this.file.path}: ${reason(failure)}`);
    }
  }
  changed(): boolean {
    return fileChanged(this.file, false);
  }
  close(): void {
    closeIndexFile(this.file);
  }
}

export const openCdb: OpenType = (name, options) => {
  if (options.access !== "read") throw new TableOpenError("unsupported non-bulk change request");
  const file = openIndexFile(name, ".cdb", options);
  try {
    return Promise.resolve(new CdbTable(`cdb:${name}`, options.flags, file));
  } catch (failure) {
    closeIndexFile(file);
    if (failure instanceof TypeError || failure instanceof RangeError) throw failure;
    throw new TableOpenError(`open database ${file.path}: ${reason(failure)}`);
  }
};
