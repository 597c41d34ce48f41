/** Byte strings in the JSON that commands print. */
import { printable } from "./bytes.ts";

const ESCAPES: ReadonlyMap<string, string> = new Map([
  ["\b", "\\b"],
  ["\f", "\\f"],
  ["\n", "\\n"],
  ["\r", "\\r"],
  ["\t", "\\t"],
  ['"', '\\"'],
  ["\\", "\\\\"],
]);
const SPECIAL = /[\x00-\x1f\x7f"\\]/g;

/**
 * A JSON string; bytes that are no UTF-8 become `?`, since no JSON can hold them. Without `utf8`, all bytes beyond ASCII do.
 */
export function jsonString(text: string, utf8 = true): string {
  const escaped = text.replace(
    SPECIAL,
    (char) => ESCAPES.get(char) ?? `\\u${char.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}`,
  );
  return `"${printable(escaped, utf8)}"`;
}
