/** How postconf prints: normalized white space, folded lines, JSON. */
import { BLANKS } from "../../lib/config/lists.ts";
import { splitAny } from "../../lib/sys/bytes.ts";
import { jsonString } from "../../lib/sys/json_string.ts";
import { argumentWords, FIELD_NAMES, type FieldName, fieldOf, type MasterEntry } from "./master_file.ts";

const LINE_LIMIT = 80;
const INDENT = "    ";

export interface Style {
  /** -f */
  readonly fold: boolean;
  /** -h */
  readonly hideName: boolean;
  /** -H */
  readonly hideValue: boolean;
  /** -j */
  readonly json: boolean;
}

/** `NAME = VALUE` in the style asked for, with the newline. */
export function parameterLine(name: string, value: string, style: Style): string {
  if (style.json) return jsonLine(name, value);
  if (style.hideValue) return `${name}\n`;
  const words = splitAny(style.hideName ? value : `${name} = ${value}`, BLANKS);
  return `${style.fold ? foldWords(words) : words.join(" ")}\n`;
}

/** A line has at most 80 columns unless a word is longer. */
function foldWords(words: ReadonlyArray<string>): string {
  let text = words[0] ?? "";
  let length = text.length;
  for (const word of words.slice(1)) {
    if (length + word.length < LINE_LIMIT) {
      text += ` ${word}`;
      length += 1 + word.length;
    } else {
      text += `\n${INDENT}${word}`;
      length = INDENT.length + word.length;
    }
  }
  return text;
}

export const jsonLine = (name: string, value: string): string =>
  `{${jsonString(name)}: ${jsonString(value)}}\n`;

/** Columns of the fields of a master.cf entry. */
const COLUMNS = [0, 11, 17, 25, 33, 41, 49, 57];

/** Appends words to a line that has some length, with line breaks as master.cf entries have them. */
class EntryLine {
  #text: string;
  #length: number;
  readonly #fold: boolean;
  constructor(text: string, fold: boolean) {
    this.#text = text;
    this.#length = text.length;
    this.#fold = fold;
  }

  add(word: string, wrap: boolean): void {
    if (wrap) {
      this.#text += `\n${INDENT}${word}`;
      this.#length = INDENT.length + word.length;
    } else {
      this.#text += ` ${word}`;
      this.#length += 1 + word.length;
    }
  }

  addArguments(entry: MasterEntry): void {
    let afterSetting = false;
    for (const argument of entry.args) {
      const words = argumentWords(argument).join(" ");
      const wrap = this.#fold && (argument.kind === "setting" || afterSetting || this.isFull(words));
      this.add(words, wrap);
      afterSetting = argument.kind === "setting";
    }
  }

  isFull(word: string): boolean {
    return this.#length + 1 + word.length >= LINE_LIMIT;
  }

  get text(): string {
    return this.#text;
  }
}

/** An entry in the layout of -M, without the newline. */
export function entryText(entry: MasterEntry, fold: boolean): string {
  let head = "";
  for (const [index, field] of FIELD_NAMES.entries()) {
    const column = COLUMNS[index] ?? 0;
    const gap = index === 0 ? "" : " ".repeat(Math.max(1, column - head.length));
    head += gap + fieldOf(entry, field);
  }
  const line = new EntryLine(head, fold);
  line.addArguments(entry);
  return line.text;
}

/** An entry on one line with single blanks. */
export const entryWords = (entry: MasterEntry): string =>
  [...FIELD_NAMES.map((field) => fieldOf(entry, field)), ...entry.args.flatMap(argumentWords)].join(" ");

/** The value of a field; that of the command includes its arguments. */
export const fieldText = (entry: MasterEntry, field: FieldName): string =>
  field === "command"
    ? [fieldOf(entry, field), ...entry.args.flatMap(argumentWords)].join(" ")
    : fieldOf(entry, field);

/** `name/type/field = value` in the style asked for, with the newline. */
export function fieldLine(entry: MasterEntry, field: FieldName, style: Style): string {
  const name = `${fieldOf(entry, "service")}/${fieldOf(entry, "type")}/${field}`;
  if (style.json) return jsonLine(name, fieldText(entry, field));
  if (style.hideValue) return `${name}\n`;
  const value = fieldOf(entry, field);
  const line = new EntryLine(style.hideName ? value : `${name} =`, style.fold);
  // The blank before the break is Postfix's, too.
  if (!style.hideName && line.isFull(value)) line.add("", false);
  if (!style.hideName) line.add(value, line.isFull(value));
  if (field === "command") line.addArguments(entry);
  return `${line.text}\n`;
}
