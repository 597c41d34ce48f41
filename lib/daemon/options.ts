/** Command-line options by POSIX rules: parsing stops at the first argument that is not an option (tools.md 1.1). */

import { toBytes } from "../sys/bytes.ts";
import { writeSync } from "../sys/fs.ts";

export interface ParsedOption {
  /** The letter. */
  readonly option: string;
  /** The argument of an option that takes one. */
  readonly value: string;
}

export type OptionResult =
  | {
      readonly ok: true;
      readonly options: ReadonlyArray<ParsedOption>;
      readonly operands: ReadonlyArray<string>;
    }
  /** The C library's complaint, `invalid option -- 'Z'`, and the letter. */
  | {
      readonly ok: false;
      readonly problem: string;
      readonly letter: string;
      readonly options: ReadonlyArray<ParsedOption>;
    };

/** Parses options by a getopt string such as `c:dv` (a colon after a letter: it takes an argument). */
export function parseOptions(args: ReadonlyArray<string>, letters: string): OptionResult {
  const options: ParsedOption[] = [];
  for (let index = 0; index < args.length; index++) {
    const argument = args[index] ?? "";
    if (argument === "--") return { ok: true, options, operands: args.slice(index + 1) };
    if (!argument.startsWith("-") || argument === "-")
      return { ok: true, options, operands: args.slice(index) };
    for (let at = 1; at < argument.length; at++) {
      const letter = argument.charAt(at);
      const found = letter === ":" ? -1 : letters.indexOf(letter);
      if (found < 0) return { ok: false, problem: `invalid option -- '${letter}'`, letter, options };
      if (letters.charAt(found + 1) !== ":") {
        options.push({ option: letter, value: "" });
        continue;
      }
      const joined = argument.slice(at + 1);
      const value = joined === "" ? args[++index] : joined;
      if (value === undefined)
        return { ok: false, problem: `option requires an argument -- '${letter}'`, letter, options };
      options.push({ option: letter, value });
      break;
    }
  }
  return { ok: true, options, operands: [] };
}

/** Writes the C library's line about a bad option to standard error; it is not logged. */
export const complain = (name: string, { problem }: { readonly problem: string }): void => {
  writeSync(2, toBytes(`${name}: ${problem}\n`));
};
