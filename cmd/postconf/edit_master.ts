/** Editing master.cf: whole entries (-M), fields (-F), settings (-P); what is not concerned is copied byte for byte. */

import { BLANKS, splitBraced } from "../../lib/config/lists.ts";
import { splitNameValue } from "../../lib/config/main_cf.ts";
import { fatal, warning } from "../../lib/log/log.ts";
import { isSpaceCode, splitAny } from "../../lib/sys/bytes.ts";
import { editFile } from "./edit_file.ts";
import { type EditMode, lineKind, physicalLines } from "./edit_main.ts";
import { entryText } from "./format.ts";
import {
  type Argument,
  checkField,
  type FieldName,
  type MasterEntry,
  parseArguments,
  parseEntry,
} from "./master_file.ts";
import { matchesPart, readFieldName } from "./show.ts";

export type MasterTarget = "-M" | "-F" | "-P";

interface Edit {
  /** The argument, for messages. */
  readonly text: string;
  readonly service: string;
  readonly type: string;
  /** Field or parameter. */
  readonly member: string;
  /** Text after `=`. */
  readonly value: string;
  matched: boolean;
}

/** Changes master.cf as the arguments say. */
export function editMaster(
  path: string,
  target: MasterTarget,
  mode: EditMode,
  args: ReadonlyArray<string>,
): void {
  const requests = args.map((argument) => readEdit(target, mode, argument));
  const edits = target === "-M" ? lastRequests(requests) : requests;
  editFile(path, (text) => new MasterEditor(path, target, mode, edits).rewrite(text));
  if (target !== "-M")
    for (const edit of edits) if (!edit.matched) warning(`unmatched service_name/type: "${edit.text}"`);
}

/** Of several requests for the same entry the last one counts. */
const lastRequests = (edits: ReadonlyArray<Edit>): Edit[] => [
  ...new Map(edits.map((edit) => [`${edit.service}/${edit.type}`, edit])).values(),
];

const SHAPE: Readonly<Record<MasterTarget, string>> = {
  "-M": "-Me, -MX or -M# requires service_name/type",
  "-F": "-Fe or -FX requires service_name/type/field_name",
  "-P": "-Pe or -PX requires service_name/type/parameter",
};

function readEdit(target: MasterTarget, mode: EditMode, argument: string): Edit {
  let start = 0;
  while (start < argument.length && isSpaceCode(argument.charCodeAt(start))) start++;
  const text = argument.slice(start);
  if (text.includes("\n")) fatal("-Me, -Fe, -Pe, -X, or -# accept no multi-line input");
  if (text.startsWith("#")) fatal("-Me, -Fe, -Pe, -X, or -# accept no comment input");
  let pattern = text;
  let value = "";
  if (mode === "edit") {
    const pair = splitNameValue(text);
    if (!pair.ok) return fatal(`${pair.problem}: "${text}"`);
    pattern = pair.name;
    value = pair.value;
  }
  const parts = pattern.split("/");
  if (parts.length !== (target === "-M" ? 2 : 3) || parts.some((part) => part === "")) fatal(SHAPE[target]);
  const [service = "", type = "", member = ""] = parts;
  if (target === "-F") {
    if (member === "*") fatal("-Fe does not accept wild-card field name");
    if (readFieldName(member) !== "command" && hasBlank(value))
      fatal("-Fe does not accept whitespace in non-command field");
  }
  if (target === "-P") {
    if (member === "*") fatal("-Pe does not accept wild-card parameter name");
    if (hasBlank(value)) fatal("-Pe does not accept whitespace in parameter value");
  }
  return { text, service, type, member, value, matched: false };
}

const hasBlank = (text: string): boolean => [...BLANKS].some((blank) => text.includes(blank));

/** The physical lines of one entry; those after its last continuation line belong to nothing. */
interface Block {
  readonly lines: ReadonlyArray<string>;
  readonly number: number;
}

class MasterEditor {
  readonly #path: string;
  readonly #target: MasterTarget;
  readonly #mode: EditMode;
  readonly #edits: ReadonlyArray<Edit>;

  constructor(path: string, target: MasterTarget, mode: EditMode, edits: ReadonlyArray<Edit>) {
    this.#path = path;
    this.#target = target;
    this.#mode = mode;
    this.#edits = edits;
  }

  rewrite(text: string): string {
    let out = "";
    for (const block of blocksOf(text)) {
      const first = block.lines[0] ?? "";
      out += lineKind(first) === "start" ? this.#entry(block) : joined(block.lines);
    }
    if (this.#target === "-M" && this.#mode === "edit")
      for (const edit of this.#edits) if (!edit.matched) out += newEntry(edit);
    return out;
  }

  #entry(block: Block): string {
    const [service = "", type] = splitAny(block.lines[0] ?? "", " \t\n\v\f\r");
    const where = `file ${this.#path}: line ${block.number}`;
    if (type === undefined) return fatal(`${where}: specify service name and type on the same line`);
    const unsupported = "is unsupported with -Me, -Fe, -Pe, -X, or -#";
    if (service.includes("=")) fatal(`${where}: service name syntax "${service}" ${unsupported}`);
    if (/[=/]/.test(type)) fatal(`${where}: service type syntax "${type}" ${unsupported}`);
    const edits = this.#edits.filter(
      (edit) =>
        (matchesPart(edit.service, service) && matchesPart(edit.type, type)) ||
        this.#isNamed(edit, service, type),
    );
    if (edits.length === 0) return joined(block.lines);
    if (this.#target === "-M") return this.#wholeEntry(block, edits);
    for (const edit of edits) edit.matched = true;
    const logical = block.lines.filter((line) => lineKind(line) !== "comment").join("");
    let entry = parseEntry(logical, () => `${where}: bad field count`);
    for (const edit of edits) entry = this.#change(entry, edit);
    const comments = block.lines.filter((line) => lineKind(line) === "comment");
    return `${joined(comments)}${entryText(entry, true)}\n`;
  }

  /** A new line replaces the entry that it names, too, when the pattern names another. */
  #isNamed(edit: Edit, service: string, type: string): boolean {
    if (this.#target !== "-M" || this.#mode !== "edit") return false;
    const [newService, newType] = splitAny(edit.value, BLANKS);
    return newService === service && newType === type;
  }

  #wholeEntry(block: Block, edits: ReadonlyArray<Edit>): string {
    const comments = block.lines.filter((line) => lineKind(line) === "comment");
    if (this.#mode === "comment")
      return joined(block.lines.map((line) => (lineKind(line) === "comment" ? line : `#${line}`)));
    if (this.#mode === "exclude") return joined(comments);
    let out = "";
    for (const edit of edits) {
      if (!edit.matched) out += newEntry(edit);
      edit.matched = true;
    }
    return out + joined(comments);
  }

  #change(entry: MasterEntry, edit: Edit): MasterEntry {
    if (this.#target === "-F") return changeField(entry, readFieldName(edit.member), edit.value);
    return this.#mode === "edit"
      ? setParameter(entry, edit.member, edit.value)
      : dropParameter(entry, edit.member);
  }
}

/** An entry with everything up to its last continuation line; comments elsewhere are blocks of their own. */
function blocksOf(text: string): Block[] {
  const blocks: { lines: string[]; number: number }[] = [];
  let pending: string[] = [];
  let number = 0;
  const flush = (): void => {
    for (const line of pending) blocks.push({ lines: [line], number });
    pending = [];
  };
  for (const line of physicalLines(text)) {
    number++;
    const current = blocks[blocks.length - 1];
    switch (lineKind(line)) {
      case "comment":
        pending.push(line);
        break;
      case "start":
        flush();
        blocks.push({ lines: [line], number });
        break;
      case "continuation":
        if (current === undefined) pending.push(line);
        else current.lines.push(...pending, line);
        if (current !== undefined) pending = [];
    }
  }
  flush();
  return blocks;
}

const joined = (lines: ReadonlyArray<string>): string => lines.map((line) => `${line}\n`).join("");

const newEntry = (edit: Edit): string =>
  `${entryText(
    parseEntry(edit.value, () => `bad field count: "${edit.text}"`),
    true,
  )}\n`;

function changeField(entry: MasterEntry, field: FieldName, value: string): MasterEntry {
  if (field === "command") {
    const [command = "", ...words] = splitBraced(value, BLANKS);
    return { fields: new Map(entry.fields).set("command", command), args: parseArguments(words) };
  }
  checkField(field, value, value);
  return { fields: new Map(entry.fields).set(field, value), args: entry.args };
}

const isSettingOf = (argument: Argument, name: string): boolean => {
  const pair = argument.kind === "setting" ? splitNameValue(argument.text) : undefined;
  return pair?.ok === true && pair.name === name;
};

function setParameter(entry: MasterEntry, name: string, value: string): MasterEntry {
  const setting: Argument = { kind: "setting", text: `${name}=${value}` };
  if (entry.args.some((argument) => isSettingOf(argument, name)))
    return {
      fields: entry.fields,
      args: entry.args.map((argument) => (isSettingOf(argument, name) ? setting : argument)),
    };
  const firstWord = entry.args.findIndex((argument) => argument.kind === "word");
  const at = firstWord < 0 ? entry.args.length : firstWord;
  return { fields: entry.fields, args: [...entry.args.slice(0, at), setting, ...entry.args.slice(at)] };
}

const dropParameter = (entry: MasterEntry, name: string): MasterEntry => ({
  fields: entry.fields,
  args: entry.args.filter((argument) => !isSettingOf(argument, name)),
});
