/** Values that are lists of files (flag src_rhs_is_file): the table holds the base64 form of their joined contents. */
import { warning } from "../log/log.ts";
import { fromBytes } from "../sys/bytes.ts";
import { encodeFiles } from "./files.ts";
import { CONFIG, found, type LookupResult, type Table, TableOpenError } from "./table.ts";
import { MemoryTable } from "./types/memory.ts";

const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/** The contents that a looked up value stands for. */
export function decodeFileValue(table: Table, key: string, value: string): LookupResult {
  if (value.length % 4 === 0 && BASE64.test(value)) return found(fromBytes(Buffer.from(value, "base64")));
  warning(`table ${table.name}: key ${key}: malformed BASE64 value: ${value.slice(0, 30)}`);
  return CONFIG;
}

/** An inline or static table whose text names the files: the values it gives are those of an index. Throws TableOpenError. */
export async function withFileValues(table: Table): Promise<Table> {
  if (table instanceof MemoryTable) {
    table.mapValues((value) => contentsOf(value, `: "${table.name}"; need "inline:{name=filename...}"`));
    return table;
  }
  // static: one value for all keys
  const constant = await table.lookup("");
  const value = found(constant.kind === "found" ? contentsOf(constant.value) : "");
  table.lookup = () => value;
  return table;
}

/** The contents of the files of a list, in base64. Throws TableOpenError. */
export function contentsOf(list: string, hint = ""): string {
  const encoded = encodeFiles(list);
  if (!encoded.ok) throw new TableOpenError(encoded.problem + hint);
  return encoded.base64;
}
