/** `inline:{ key=value, { key = text with spaces } }`: a table written in the configuration. */
import { splitBraced, unwrapBraces } from "../../config/lists.ts";
import { isSpaceCode, isValidUtf8, trimSpace } from "../../sys/bytes.ts";
import { foldCase } from "../casefold.ts";
import { type OpenType, TableFlag, TableOpenError, TRUSTED } from "../table.ts";
import { MemoryTable } from "./memory.ts";

export const openInline: OpenType = (name, options) => {
  const refuse = (problem: string): never => {
    throw new TableOpenError(`${problem}: "inline:${name}"; need "inline:{name=value...}"`);
  };
  const outer = unwrapBraces(name);
  if (!outer.ok || name === "{}") return refuse("bad syntax");
  if (options.utf8 && !isValidUtf8(name)) return refuse("bad UTF-8 syntax");
  const entries = new Map<string, string>();
  for (const element of splitBraced(outer.text)) {
    let text = element;
    if (element.startsWith("{")) {
      const inner = unwrapBraces(element);
      if (!inner.ok) return refuse(inner.problem);
      text = inner.text;
    }
    const pair = parsePair(text);
    if (typeof pair === "string") return refuse(pair);
    const key = (options.flags & TableFlag.fold_fix) !== 0 ? foldCase(pair.key, options.utf8) : pair.key;
    entries.set(key, pair.value);
  }
  if (entries.size === 0) return refuse("empty table");
  return Promise.resolve(new MemoryTable(`inline:${name}`, options.flags, TRUSTED, entries));
};

/** `key = value`, or what is wrong with it. */
function parsePair(text: string): { key: string; value: string } | string {
  let start = 0;
  while (start < text.length && isSpaceCode(text.charCodeAt(start))) start++;
  let quoted = false;
  let end = start;
  for (; end < text.length; end++) {
    const code = text.charCodeAt(end);
    if (code === 0x5c) {
      if (end + 1 < text.length) end++;
    } else if (code === 0x22) quoted = !quoted;
    else if (!quoted && (isSpaceCode(code) || code === 0x3d)) break;
  }
  if (quoted) return "unbalanced '\"'";
  if (end === start) return "no key found; expected format: key = value";
  let equals = end;
  while (equals < text.length && isSpaceCode(text.charCodeAt(equals))) equals++;
  if (text.charAt(equals) !== "=") return "missing '=' after attribute name";
  return { key: text.slice(start, end), value: trimSpace(text.slice(equals + 1)) };
}
