/** -e, -X, -#: editing main.cf line by line, with comments and the order of entries kept. */

import { splitNameValue } from "../../lib/config/main_cf.ts";
import { fatal, warning } from "../../lib/log/log.ts";
import { isSpaceCode } from "../../lib/sys/bytes.ts";
import { editFile } from "./edit_file.ts";

export type EditMode = "edit" | "exclude" | "comment";

/** Physical lines with whether they are comments or blank, continuations, or begin an entry. */
export type LineKind = "comment" | "continuation" | "start";

/** Lines of a file without their newlines; the last line may lack its own. */
export const physicalLines = (text: string): string[] => {
  const lines = text.split("\n");
  if (lines[lines.length - 1] === "") lines.pop();
  return lines;
};

export function lineKind(line: string): LineKind {
  for (let index = 0; index < line.length; index++) {
    const code = line.charCodeAt(index);
    if (isSpaceCode(code)) continue;
    if (code === 0x23) return "comment";
    return index === 0 ? "start" : "continuation";
  }
  return "comment";
}

/** Changes main.cf as the arguments say. */
export function editMain(path: string, mode: EditMode, args: ReadonlyArray<string>): void {
  const wanted = readRequests(mode, args);
  editFile(path, (text) => rewriteMain(path, text, mode, wanted));
}

/** Names, with their new values when they are to be set. */
function readRequests(mode: EditMode, args: ReadonlyArray<string>): Map<string, string> {
  const wanted = new Map<string, string>();
  for (const argument of args) {
    const text = skipSpace(argument);
    if (text.includes("\n")) fatal("-e, -X, or -# accepts no multi-line input");
    if (text.startsWith("#")) fatal("-e, -X, or -# accepts no comment input");
    if (mode === "edit") {
      const pair = splitNameValue(text);
      if (!pair.ok) return fatal(`${pair.problem}: "${text}"`);
      request(wanted, pair.name, pair.value);
    } else {
      if (text === "") fatal("-X or -# requires non-blank parameter names");
      if (text.includes("=")) fatal("-X or -# requires parameter names without value");
      request(wanted, text, "");
    }
  }
  return wanted;
}

function skipSpace(text: string): string {
  let start = 0;
  while (start < text.length && isSpaceCode(text.charCodeAt(start))) start++;
  return text.slice(start);
}

function request(wanted: Map<string, string>, name: string, value: string): void {
  const earlier = wanted.get(name);
  if (earlier !== undefined && earlier !== value) warning(`ignoring earlier request: '${name} = ${earlier}'`);
  wanted.set(name, value);
}

const NAME = /^[^ \t\n\v\f\r=]*/;

function rewriteMain(
  path: string,
  text: string,
  mode: EditMode,
  wanted: ReadonlyMap<string, string>,
): string {
  const seen = new Map<string, number>();
  let out = "";
  let interesting = false;
  for (const line of physicalLines(text)) {
    const kind = lineKind(line);
    if (kind === "comment") {
      out += `${line}\n`;
      continue;
    }
    if (kind === "continuation") {
      if (!interesting) out += `${line}\n`;
      else if (mode === "comment") out += `#${line}\n`;
      continue;
    }
    const name = NAME.exec(line)?.[0] ?? "";
    const value = wanted.get(name);
    interesting = value !== undefined;
    if (value === undefined) {
      out += `${line}\n`;
      continue;
    }
    const count = (seen.get(name) ?? 0) + 1;
    seen.set(name, count);
    if (count === 2) warning(`${path}: multiple entries for "${name}"`);
    if (mode === "edit") out += `${name} = ${value}\n`;
    else if (mode === "comment") out += `#${line}\n`;
  }
  if (mode === "edit")
    for (const [name, value] of [...wanted].sort(([a], [b]) => (a < b ? -1 : 1)))
      if (!seen.has(name)) out += `${name} = ${value}\n`;
  return out;
}
