/** What a command says of itself: declared once, for its option parser, `--help`, the man page and shell completion. */

import { toBytes } from "../sys/bytes.ts";
import { writeSync } from "../sys/fs.ts";
import type { Invocation } from "./program.ts";

/** What a shell offers for a word. */
export type Completion =
  | "directory"
  | "file"
  /** A queue file's name. */
  | "queue-id"
  /** The same, or ALL, or -. */
  | "queue-ids"
  /** A main.cf parameter. */
  | "parameter"
  /** `type:name` */
  | "table"
  /** A program of the search path. */
  | "program"
  | ReadonlyArray<string>;

/**
 * An option and what it does: `-v`; `-c config_dir` with an argument; `-qR|site` with an argument that must follow in the same word;
 * `-bp` as one value of option b.
 */
export type OptionHelp = readonly [option: string, help: string, completion?: Completion];

export interface CommandHelp {
  readonly name: string;
  readonly section: 1 | 8;
  /** One line for NAME: `send a request to a service`. */
  readonly summary: string;
  /** What follows the name, one entry a form of the command line. */
  readonly usage: ReadonlyArray<string>;
  readonly options: ReadonlyArray<OptionHelp>;
  /** What the words after the options are. */
  readonly operands?: Completion;
  /** Commands that may be the first operand. */
  readonly commands?: ReadonlyArray<readonly [name: string, help: string]>;
}

/** The getopt string of the options. */
export function optionLetters({ options }: Pick<CommandHelp, "options">): string {
  const letters = new Map<string, string>();
  for (const [option] of options) {
    const letter = option.charAt(1);
    if (option.length > 2) letters.set(letter, `${letter}:`);
    else if (!letters.has(letter)) letters.set(letter, letter);
  }
  return [...letters.values()].join("");
}

/** The option as it is typed. */
export const shownOption = (option: string): string => option.replace("|", "");

const INDENT = 22;
const WIDTH = 79;

/** The text of `--help`. */
export function helpText(help: CommandHelp): string {
  const lines = help.usage.map((form, index) => `${index === 0 ? "Usage:" : "      "} ${help.name} ${form}`);
  lines.push(`${help.summary.charAt(0).toUpperCase()}${help.summary.slice(1)}.`, "");
  for (const [option, text] of help.options) lines.push(...entry(shownOption(option), text));
  if (help.commands !== undefined) {
    lines.push("", "Commands:");
    for (const [name, text] of help.commands) lines.push(...entry(name, text));
  }
  lines.push("", `Manual page: ${help.name}(${help.section})`);
  return `${lines.join("\n")}\n`;
}

function entry(term: string, text: string): string[] {
  const lines: string[] = [];
  let line = `  ${term}`;
  if (line.length > INDENT - 2) {
    lines.push(line);
    line = "";
  }
  line = line.padEnd(INDENT);
  let filled = INDENT;
  for (const word of text.split(" ")) {
    if (filled > INDENT && line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = " ".repeat(INDENT);
      filled = INDENT;
    }
    line += filled > INDENT ? ` ${word}` : word;
    filled = line.length;
  }
  return [...lines, line];
}

/** `--help` as the first argument: prints it and ends with status 0. Postfix refuses that argument, so that nothing else is lost. */
export function offerHelp(help: CommandHelp, { args }: Pick<Invocation, "args">): void {
  if (args[0] !== "--help") return;
  let bytes: Uint8Array = toBytes(helpText(help));
  while (bytes.length > 0) bytes = bytes.subarray(writeSync(1, bytes));
  process.exit(0);
}
