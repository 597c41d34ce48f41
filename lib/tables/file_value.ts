/** Values that are lists of files (flag src_rhs_is_file): the table holds the base64 form of their joined contents. */
import { readFileSync } from "node:fs";
import { splitList } from "../config/lists.ts";
import { warning } from "../log/log.ts";
import { fromBytes, pathOf } from "../sys/bytes.ts";
import { errorCode, errorText } from "../sys/errno.ts";
import { CONFIG, found, type LookupResult, type Table, TableOpenError } from "./table.ts";
import { MemoryTable } from "./types/memory.ts";

export type EncodedFiles =
  | { readonly ok: true; readonly base64: string }
  | { readonly ok: false; readonly problem: string };

/** Beyond this no certificate chain goes. */
const SIZE_LIMIT = 0x7fffffff / 2;

/** The contents of comma or blank separated files, with a newline between them, as base64. */
export function encodeFiles(list: string): EncodedFiles {
  const names = splitList(list);
  if (names.length === 0) return { ok: false, problem: `empty pathname list: >>${list}<<'` };
  const contents: Buffer[] = [];
  let size = 0;
  for (const name of names) {
    let content: Buffer;
    try {
      content = readFileSync(pathOf(name));
    } catch (failure) {
      const code = errorCode(failure);
      if (code === undefined) throw failure;
      return { ok: false, problem: `${code === "EISDIR" ? "read" : "open"} ${name}: ${errorText(failure)}` };
    }
    size += content.length;
    if (size > SIZE_LIMIT) return { ok: false, problem: `file too large: ${name}` };
    if (contents.length > 0) contents.push(Buffer.from("\n"));
    contents.push(content);
  }
  return { ok: true, base64: Buffer.concat(contents).toString("base64") };
}

const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/** The contents that a looked up value stands for. */
export function decodeFileValue(table: Table, key: string, value: string): LookupResult {
  if (value.length % 4 === 0 && BASE64.test(value)) return found(fromBytes(Buffer.from(value, "base64")));
  warning(`table ${table.name}: key ${key}: malformed BASE64 value: ${value.slice(0, 30)}`);
  return CONFIG;
}

/** A table whose source text names the files: the values it gives are those of an index. Throws TableOpenError. */
export async function withFileValues(table: Table): Promise<Table> {
  if (table instanceof MemoryTable) {
    table.mapValues(contentsOf);
    return table;
  }
  const lookup = table.lookup.bind(table);
  // one value for all keys: its files are read now
  if (table.name.startsWith("static:")) {
    const constant = await lookup("");
    const value = found(constant.kind === "found" ? contentsOf(constant.value) : "");
    table.lookup = () => Promise.resolve(value);
    return table;
  }
  table.lookup = async (key) => {
    const result = await lookup(key);
    if (result.kind !== "found") return result;
    const encoded = encodeFiles(result.value);
    if (encoded.ok) return found(encoded.base64);
    warning(`table ${table.name}: key ${key}: ${encoded.problem}`);
    return CONFIG;
  };
  return table;
}

function contentsOf(list: string): string {
  const encoded = encodeFiles(list);
  if (!encoded.ok) throw new TableOpenError(encoded.problem);
  return encoded.base64;
}
