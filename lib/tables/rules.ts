/** Tables of rules (cidr, regexp, pcre): where rules come from, IF/ENDIF blocks, the search. */

import { logicalLines } from "../config/lines.ts";
import { splitBraced, unwrapBraces } from "../config/lists.ts";
import { warning } from "../log/log.ts";
import { equalFold, fromBytes, isAlnumCode, pathOf } from "../sys/bytes.ts";
import { errorCode, errorText } from "../sys/errno.ts";
import { closeSync, fstatSync, openSync, readFileSync } from "../sys/fs.ts";
import {
  ABSENT,
  found,
  type LookupResult,
  ownerOf,
  type Table,
  TableFlag,
  TableOpenError,
  type TableOwner,
  TRUSTED,
} from "./table.ts";

export interface RuleText {
  readonly text: string;
  readonly line: number;
}

export interface RuleSource {
  readonly rules: ReadonlyArray<RuleText>;
  readonly owner: TableOwner;
}

/** The rules of a file, or of `{{rule}, {rule}}`. Throws TableOpenError. */
export function readRules(type: string, name: string): RuleSource {
  if (name.startsWith("{")) return { rules: inlineRules(type, name), owner: TRUSTED };
  let text: string;
  let uid: number;
  try {
    const fd = openSync(pathOf(name), "r");
    try {
      text = fromBytes(readFileSync(fd));
      uid = fstatSync(fd).uid;
    } finally {
      closeSync(fd);
    }
  } catch (failure) {
    if (errorCode(failure) === undefined) throw failure;
    throw new TableOpenError(`open ${name}: ${errorText(failure)}`);
  }
  const { lines, warnings } = logicalLines(text, name);
  for (const line of warnings) warning(line);
  return { rules: lines, owner: ownerOf(uid) };
}

function inlineRules(type: string, name: string): RuleText[] {
  const outer = unwrapBraces(name);
  if (!outer.ok) throw new TableOpenError(`${type} map: ${outer.problem}`);
  return splitBraced(outer.text).map((element, index) => {
    const inner = unwrapBraces(element);
    if (!inner.ok) throw new TableOpenError(`${type} map: ${inner.problem}`);
    return { text: inner.text, line: index + 1 };
  });
}

/** One parsed statement about subjects of type S. */
export type Statement<S> =
  | { readonly kind: "if"; readonly line: number; matches(subject: S): boolean }
  /** `problem`: what is wrong with it where it closes an IF. */
  | { readonly kind: "endif"; readonly line: number; readonly problem?: string | undefined }
  | { readonly kind: "rule"; readonly line: number; apply(subject: S): string | undefined };

/** Logs about one line of a table. */
export type RuleWarning = (line: number, text: string) => void;

export const ruleWarning =
  (type: string, name: string): RuleWarning =>
  (line, text) =>
    warning(`${type} map ${name}, line ${line}: ${text}`);

/** Statements with, for each IF, the place behind its block. */
export class RuleProgram<S> {
  private readonly statements: Array<Statement<S>> = [];
  private readonly after: number[] = [];

  /** Parses the rules in order; `unmatchedEndif` says what is wrong with an ENDIF that closes nothing. */
  constructor(
    rules: ReadonlyArray<RuleText>,
    parse: (rule: RuleText) => Statement<S> | undefined,
    warn: RuleWarning,
    unmatchedEndif: string,
  ) {
    const { statements, after } = this;
    const open: number[] = [];
    for (const rule of rules) {
      const statement = parse(rule);
      if (statement === undefined) continue;
      if (statement.kind === "if") open.push(statements.length);
      if (statement.kind === "endif") {
        const start = open.pop();
        if (start === undefined) {
          warn(statement.line, unmatchedEndif);
          continue;
        }
        if (statement.problem !== undefined) warn(statement.line, statement.problem);
        after[start] = statements.length;
      }
      statements.push(statement);
    }
    for (const start of open.reverse()) warn(statements[start]?.line ?? 0, "IF has no matching ENDIF");
  }

  /** The result of the first rule that applies. */
  search(subject: S): string | undefined {
    const { statements } = this;
    for (let index = 0; index < statements.length; ) {
      const statement = statements[index];
      if (statement === undefined) return undefined;
      if (statement.kind === "rule") {
        const result = statement.apply(subject);
        if (result !== undefined) return result;
      } else if (statement.kind === "if" && !statement.matches(subject)) {
        index = this.after[index] ?? statements.length;
        continue;
      }
      index++;
    }
    return undefined;
  }
}

/** The length of a word (`if`, `endif`) at the start of a line in any case, not followed by a letter or digit; 0 when it is not there. */
export function keywordLength(text: string, word: string): number {
  if (!equalFold(text.slice(0, word.length), word)) return 0;
  return isAlnumCode(text.charCodeAt(word.length)) ? 0 : word.length;
}

/** A table of rules: one lookup with the full key. */
export class RuleTable implements Table {
  readonly fixed = false;
  flags: number;

  constructor(
    readonly name: string,
    flags: number,
    readonly owner: TableOwner,
    private readonly find: (key: string) => string | undefined,
    private readonly release: () => void = () => {},
  ) {
    this.flags = flags | TableFlag.pattern;
  }
  lookup(key: string): LookupResult {
    const value = this.find(key);
    return value === undefined ? ABSENT : found(value);
  }
  changed(): boolean {
    return false;
  }
  close(): void {
    this.release();
  }
}
