/** `regexp:file`, `regexp:{{/pattern/ result}, ...}`: POSIX regular expressions by libc (regexp_table(5)). */
import { cutString, ffi, library, type Pointer } from "../../sys/ffi.ts";
import {
  type CompiledPattern,
  type DialectContext,
  type PatternDialect,
  parsePatternRule,
} from "../pattern_rules.ts";
import { RuleProgram, RuleTable, type RuleText, readRules, ruleWarning } from "../rules.ts";
import type { OpenType } from "../table.ts";

const libc = library(["libc.so.6", "libc.so"], {
  regcomp: { args: ["ptr", "ptr", "i32"], returns: "i32" },
  regexec: { args: ["ptr", "ptr", "u64", "ptr", "i32"], returns: "i32" },
  regerror: { args: ["i32", "ptr", "ptr", "u64"], returns: "u64" },
  regfree: { args: ["ptr"], returns: "void" },
});

const REG_EXTENDED = 1;
const REG_ICASE = 2;
const REG_NEWLINE = 4;
const REG_NOSUB = 8;
/** sizeof(regex_t) of glibc and musl is 64 or less; re_nsub stands at 48 in glibc and at 0 in musl. */
const REGEX_SIZE = 128;
const NSUB_OFFSET = 48;

/** glibc compiles them by recursion: some ten thousand overflow the stack. */
const PARENTHESES_LIMIT = 1000;

class RegexpDialect implements PatternDialect {
  readonly noDelimiterAction = "skipping this rule";
  readonly outOfRange = "out-of-range";
  readonly exclusion = true;
  private readonly compiled: Buffer[] = [];

  compile: PatternDialect["compile"] = (text, capture, warn) => {
    let flags = REG_EXTENDED | REG_ICASE;
    for (const flag of text.flags) {
      if (flag === "i") flags ^= REG_ICASE;
      else if (flag === "m") flags ^= REG_NEWLINE;
      else if (flag === "x") flags ^= REG_EXTENDED;
      else {
        warn(text.line, `unknown regexp option "${flag}": skipping this rule`);
        return undefined;
      }
    }
    if (text.pattern.split("(").length > PARENTHESES_LIMIT) {
      warn(text.line, "too many parentheses: skipping this rule");
      return undefined;
    }
    const regex = Buffer.alloc(REGEX_SIZE);
    const { ptr } = ffi();
    const status = libc().regcomp(
      ptr(regex),
      ptr(cutString(text.pattern)),
      capture ? flags : flags | REG_NOSUB,
    );
    if (status !== 0) {
      warn(text.line, regexError(status, regex));
      return undefined;
    }
    this.compiled.push(regex);
    const groups = Number(regex.readBigUInt64LE(NSUB_OFFSET));
    return capture ? capturing(regex, groups) : testing(regex, groups);
  };

  release(): void {
    for (const regex of this.compiled.splice(0)) libc().regfree(ffi().ptr(regex));
  }
}

function regexError(status: number, regex: Buffer): string {
  const text = Buffer.alloc(256);
  libc().regerror(status, ffi().ptr(regex), ffi().ptr(text), BigInt(text.length));
  return text.toString("latin1", 0, text.indexOf(0));
}

/** The subject of the current search as a C string; several rules look at it one after the other. */
const subjects: { text: string; bytes: Buffer } = { text: "", bytes: Buffer.from([0]) };
function subjectPointer(text: string): Pointer {
  if (subjects.text !== text) {
    subjects.text = text;
    subjects.bytes = cutString(text);
  }
  return ffi().ptr(subjects.bytes);
}

const noGroups = (): string => "";

function testing(regex: Buffer, groups: number): CompiledPattern {
  return {
    groups,
    match: (subject) =>
      libc().regexec(ffi().ptr(regex), subjectPointer(subject), 0n, null, 0) === 0 ? noGroups : undefined,
  };
}

function capturing(regex: Buffer, groups: number): CompiledPattern {
  const ranges = new Int32Array(2 * (groups + 1));
  return {
    groups,
    match: (subject) => {
      const { ptr } = ffi();
      const status = libc().regexec(ptr(regex), subjectPointer(subject), BigInt(groups + 1), ptr(ranges), 0);
      if (status !== 0) return undefined;
      return (group) => {
        const start = ranges[2 * group] ?? -1;
        return start < 0 ? "" : subject.slice(start, ranges[2 * group + 1]);
      };
    },
  };
}

export const openRegexp: OpenType = (name, options) => {
  const { rules, owner } = readRules("regexp", name);
  const warn = ruleWarning("regexp", name);
  const dialect = new RegexpDialect();
  const context: DialectContext = { dialect, warn, flags: options.flags };
  const parse = (rule: RuleText) => parsePatternRule(rule, context);
  const program = new RuleProgram(rules, parse, warn, "ignoring ENDIF without matching IF");
  const table = new RuleTable(
    `regexp:${name}`,
    options.flags,
    owner,
    (key) => program.search(key),
    () => dialect.release(),
  );
  return Promise.resolve(table);
};
