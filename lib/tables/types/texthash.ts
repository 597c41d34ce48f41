/** `texthash:file`: a postmap source file, read into memory when the table is opened. */
import { logicalLines } from "../../config/lines.ts";
import { type HotFile, readHotFile } from "../../config/main_cf.ts";
import { warning } from "../../log/log.ts";
import { errorCode, errorText } from "../../sys/errno.ts";
import { foldCase } from "../casefold.ts";
import { encodeFiles } from "../files.ts";
import { parseSourceLine } from "../source.ts";
import { type OpenType, ownerOf, TableFlag, TableOpenError, type TypeOptions } from "../table.ts";
import { MemoryTable } from "./memory.ts";

export const openTexthash: OpenType = (name, options) => {
  let file: { entries: Map<string, string>; uid: number };
  try {
    file = readHotFile(name, (hot) => ({ entries: readEntries(name, hot, options), uid: hot.uid }));
  } catch (failure) {
    if (errorCode(failure) === undefined) throw failure;
    return Promise.reject(new TableOpenError(`open database ${name}: ${errorText(failure)}`));
  }
  return Promise.resolve(new MemoryTable(`texthash:${name}`, options.flags, ownerOf(file.uid), file.entries));
};

const IGNORING = " -- ignoring this line";

function readEntries(path: string, file: HotFile, options: TypeOptions): Map<string, string> {
  const { lines, warnings } = logicalLines(file.text, path);
  for (const text of warnings) warning(text);
  const entries = new Map<string, string>();
  for (const { text, line } of lines) {
    const record = parseSourceLine(text, false);
    const { problem } = record;
    if (record.kind === "skip") {
      warning(`${path}, line ${line}: ${problem}${problem?.endsWith(IGNORING) ? "" : IGNORING}`);
      continue;
    }
    if (problem !== undefined) warning(`${path}, line ${line}: ${problem}`);
    let { value } = record;
    if ((options.flags & TableFlag.src_rhs_is_file) !== 0) {
      const encoded = encodeFiles(value);
      if (!encoded.ok) {
        warning(`${path}, line ${line}: ${encoded.problem}: skipping this entry`);
        continue;
      }
      value = encoded.base64;
    }
    const folded = (options.flags & TableFlag.fold_fix) !== 0;
    const key = folded ? foldCase(record.key, options.utf8) : record.key;
    if (entries.has(key) && (options.flags & TableFlag.dup_replace) === 0) {
      if ((options.flags & TableFlag.ignore_dup) !== 0) continue;
      warning(`${path}, line ${line}: duplicate entry: "${record.key}"`);
      continue;
    }
    entries.set(key, value);
  }
  return entries;
}
