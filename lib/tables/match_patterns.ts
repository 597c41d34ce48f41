/** The elements of a match list: negation, files, tables, plain text. */

import { logicalLines } from "../config/lines.ts";
import { splitBraced } from "../config/lists.ts";
import { fatal, warning } from "../log/log.ts";
import { fromBytes, pathOf } from "../sys/bytes.ts";
import { errorCode, errorText } from "../sys/errno.ts";
import { readFileSync } from "../sys/fs.ts";
import { foldCase } from "./casefold.ts";
import type { AddressPattern } from "./match_address.ts";
import { openTable, unavailable } from "./open.ts";
import { type Table, TableFlag } from "./table.ts";

export type MatchPattern =
  | ({ readonly kind: "text"; readonly negated: boolean } & AddressPattern)
  | { readonly kind: "table"; readonly negated: boolean; readonly table: Table };

const FLAGS = TableFlag.lock | TableFlag.utf8_request;
/** Files may name files; deeper than this it is a loop. */
const FILE_DEPTH = 100;

export async function parsePatterns(title: string, value: string, utf8: boolean): Promise<MatchPattern[]> {
  const patterns: MatchPattern[] = [];
  await parseInto(patterns, { title, utf8 }, value, false, 0);
  return patterns;
}

interface ListContext {
  readonly title: string;
  readonly utf8: boolean;
}

async function parseInto(
  patterns: MatchPattern[],
  context: ListContext,
  text: string,
  negatedOutside: boolean,
  depth: number,
): Promise<void> {
  const words = splitBraced(text);
  for (const [index, word] of words.entries()) {
    if (word.startsWith("#")) {
      const rest = words
        .slice(index + 1)
        .join(" ")
        .slice(0, 20);
      warning(`${context.title}: #comment after other text is not allowed: ${word} ${rest}...`);
      return;
    }
    let bangs = 0;
    while (word.charAt(bangs) === "!") bangs++;
    const item = word.slice(bangs);
    const negated = negatedOutside !== (bangs % 2 === 1);
    if (item === "") fatal(`${context.title}: no pattern after '!'`);
    if (item.startsWith("/")) await parseFile(patterns, context, item, negated, depth);
    else if (item.includes(":") && !item.startsWith("["))
      patterns.push({ kind: "table", negated, table: await openTable(item, { flags: FLAGS }) });
    else patterns.push({ kind: "text", negated, text: foldCase(item, context.utf8) });
  }
}

async function parseFile(
  patterns: MatchPattern[],
  context: ListContext,
  path: string,
  negated: boolean,
  depth: number,
): Promise<void> {
  if (depth >= FILE_DEPTH) fatal(`${context.title}: files are nested too deeply: ${path}`);
  let text: string;
  try {
    text = fromBytes(readFileSync(pathOf(path)));
  } catch (failure) {
    if (errorCode(failure) === undefined) throw failure;
    const table = unavailable(`non-existent:${path}`, `open file ${path}: ${errorText(failure)}`, FLAGS);
    patterns.push({ kind: "table", negated, table });
    return;
  }
  const { lines, warnings } = logicalLines(text, path);
  for (const line of warnings) warning(line);
  for (const line of lines) await parseInto(patterns, context, line.text, negated, depth + 1);
}
