/** master.cf as postconf reads it: every field checked for its form, arguments in one spelling. */

import { BLANKS, splitBraced, unwrapBraces } from "../../lib/config/lists.ts";
import { splitNameValue } from "../../lib/config/main_cf.ts";
import { SERVICE_TYPES } from "../../lib/config/master_cf.ts";
import { fatal, warning } from "../../lib/log/log.ts";

export const FIELD_NAMES = [
  "service",
  "type",
  "private",
  "unprivileged",
  "chroot",
  "wakeup",
  "process_limit",
  "command",
] as const;
export type FieldName = (typeof FIELD_NAMES)[number];

/** An argument after the command; the value of `-o` is apart from others since it is shown and edited as `name=value`. */
export type Argument =
  | { readonly kind: "setting"; readonly text: string }
  | { readonly kind: "option"; readonly text: string }
  | { readonly kind: "word"; readonly text: string };

export interface MasterEntry {
  readonly fields: ReadonlyMap<FieldName, string>;
  readonly args: ReadonlyArray<Argument>;
}

export const fieldOf = (entry: MasterEntry, field: FieldName): string => entry.fields.get(field) ?? "";
/** `name/type`. */
export const entryKey = (entry: MasterEntry): string =>
  `${fieldOf(entry, "service")}/${fieldOf(entry, "type")}`;

/** The `-o` settings of an entry; the last one of a name counts. */
export function settingsOf(entry: MasterEntry): Map<string, string> {
  const settings = new Map<string, string>();
  for (const argument of entry.args) {
    if (argument.kind !== "setting") continue;
    const pair = splitNameValue(argument.text);
    if (pair.ok) settings.set(pair.name, pair.value);
  }
  return settings;
}

/** Parses the text of an entry. `complaint` makes the fatal text of a wrong number of fields. */
export function parseEntry(text: string, complaint: () => string): MasterEntry {
  const words = splitBraced(text, BLANKS);
  if (words.length < FIELD_NAMES.length) fatal(complaint());
  const fields = new Map<FieldName, string>();
  for (const [index, name] of FIELD_NAMES.entries()) {
    const value = words[index] ?? "";
    checkField(name, value, text);
    fields.set(name, value);
  }
  return { fields, args: parseArguments(words.slice(FIELD_NAMES.length)) };
}

const WAKEUP = /^(?:-|[0-9]+\??)$/;
const LIMIT = /^(?:-|[0-9]+)$/;

/** Ends the program over a field that master would not take. `line` is shown with it. */
export function checkField(name: FieldName, value: string, line: string): void {
  const good = (() => {
    switch (name) {
      case "type":
        return SERVICE_TYPES.some((type) => type === value);
      case "private":
      case "unprivileged":
      case "chroot":
        return value === "y" || value === "n" || value === "-";
      case "wakeup":
        return WAKEUP.test(value);
      case "process_limit":
        return LIMIT.test(value);
      default:
        return true;
    }
  })();
  if (!good) fatal(`invalid ${name} field "${value}" in "${line.replaceAll("\n", " ")}"`);
}

/** Arguments in one spelling: `-vo a=b` as `-v -o a=b`, `-o { a = b }` as a setting `a=b`. */
export function parseArguments(words: ReadonlyArray<string>): Argument[] {
  const args: Argument[] = [];
  let index = 0;
  for (; index < words.length; index++) {
    const word = words[index] ?? "";
    if (!word.startsWith("-") || word === "-" || word === "--") break;
    const letters = word.slice(1);
    const at = letters.indexOf("o");
    if (at < 0) {
      args.push({ kind: "option", text: word });
      continue;
    }
    const joined = letters.slice(at + 1);
    if (at > 0) args.push({ kind: "option", text: `-${letters.slice(0, at)}` });
    const value = joined === "" ? words[++index] : joined;
    if (value === undefined) args.push({ kind: "option", text: "-o" });
    else args.push({ kind: "setting", text: settingText(value) });
  }
  for (const word of words.slice(index)) args.push({ kind: "word", text: unwrapped(word) });
  return args;
}

function settingText(value: string): string {
  if (!value.startsWith("{")) return value;
  const text = unwrapped(value);
  const pair = splitNameValue(text);
  return pair.ok ? `${pair.name}=${pair.value}` : text;
}

function unwrapped(word: string): string {
  if (!word.startsWith("{")) return word;
  const result = unwrapBraces(word);
  if (result.ok) return result.text;
  warning(`master.cf: ${result.problem}`);
  return word;
}

/** Whether an argument has to stand in braces. */
const hasBlank = (text: string): boolean => [...BLANKS].some((blank) => text.includes(blank));

/** The words of an argument as they are printed. */
export function argumentWords(argument: Argument): string[] {
  const shown =
    hasBlank(argument.text) || (argument.kind === "word" && argument.text === "")
      ? `{${argument.text}}`
      : argument.text;
  return argument.kind === "setting" ? ["-o", shown] : [shown];
}
