/** Text of strangers in log lines, with C escapes for what does not print. */
const ESCAPES = new Map([
  ["\n", "\\n"],
  ["\r", "\\r"],
  ["\t", "\\t"],
  ["\f", "\\f"],
  ["\v", "\\v"],
  ["\b", "\\b"],
  ["\x07", "\\a"],
  ["\\", "\\\\"],
]);

export const escaped = (text: string): string =>
  text.replace(
    /[^ -[\]-~]/g,
    (char) => ESCAPES.get(char) ?? `\\${char.charCodeAt(0).toString(8).padStart(3, "0")}`,
  );
