/** `pcre:file`, `pcre:{{/pattern/ result}, ...}`: Perl-compatible patterns by libpcre2, byte mode (pcre_table(5)). */
import { toBytes } from "../../sys/bytes.ts";
import { ffi, library, type Pointer } from "../../sys/ffi.ts";
import {
  type CompiledPattern,
  type DialectContext,
  type PatternDialect,
  type PatternText,
  parsePatternRule,
} from "../pattern_rules.ts";
import { RuleProgram, RuleTable, type RuleText, type RuleWarning, readRules, ruleWarning } from "../rules.ts";
import { type OpenType, TableOpenError } from "../table.ts";

const pcre2 = library(["libpcre2-8.so.0", "libpcre2-8.so"], {
  pcre2_compile_8: { args: ["ptr", "u64", "u32", "ptr", "ptr", "ptr"], returns: "ptr" },
  pcre2_code_free_8: { args: ["ptr"], returns: "void" },
  pcre2_get_error_message_8: { args: ["i32", "ptr", "u64"], returns: "i32" },
  pcre2_jit_compile_8: { args: ["ptr", "u32"], returns: "i32" },
  pcre2_match_8: { args: ["ptr", "ptr", "u64", "u64", "u32", "ptr", "ptr"], returns: "i32" },
  pcre2_match_context_create_8: { args: ["ptr"], returns: "ptr" },
  pcre2_match_context_free_8: { args: ["ptr"], returns: "void" },
  pcre2_set_match_limit_8: { args: ["ptr", "u32"], returns: "i32" },
  pcre2_match_data_create_from_pattern_8: { args: ["ptr", "ptr"], returns: "ptr" },
  pcre2_match_data_free_8: { args: ["ptr"], returns: "void" },
  pcre2_get_ovector_pointer_8: { args: ["ptr"], returns: "ptr" },
  pcre2_pattern_info_8: { args: ["ptr", "u32", "ptr"], returns: "i32" },
});

const CASELESS = 0x00000008;
const DOTALL = 0x00000020;
const OPTIONS: ReadonlyMap<string, number> = new Map([
  ["i", CASELESS],
  ["m", 0x00000400],
  ["s", DOTALL],
  ["x", 0x00000080],
  ["A", 0x80000000],
  ["E", 0x00000010],
  ["U", 0x00040000],
]);
const INFO_CAPTURECOUNT = 4;
const JIT_COMPLETE = 1;
const ERROR_NOMATCH = -1;
const ERROR_JIT_STACKLIMIT = -46;
const NO_JIT = 0x00002000;
/** A tenth of the library's default: a pattern that explodes gives up in a fraction of a second. */
const MATCH_LIMIT = 1_000_000;
const EMPTY_SUBJECT = Buffer.alloc(1);

interface Handles {
  readonly code: Pointer;
  readonly data: Pointer;
  readonly context: Pointer;
}

class PcreDialect implements PatternDialect {
  readonly noDelimiterAction = "ignoring this rule";
  readonly outOfRange = "out of range";
  readonly exclusion = false;
  private readonly handles: Handles[] = [];

  compile: PatternDialect["compile"] = (text, _capture, warn) => {
    const options = parseOptions(text, warn);
    if (options === undefined) return undefined;
    const { ptr } = ffi();
    const lib = pcre2();
    const pattern = toBytes(text.pattern);
    const error = new Int32Array(1);
    const offset = new BigUint64Array(1);
    const source = pattern.length === 0 ? EMPTY_SUBJECT : pattern;
    const code = lib.pcre2_compile_8(
      ptr(source),
      BigInt(pattern.length),
      options,
      ptr(error),
      ptr(offset),
      null,
    );
    if (code === null || code === 0) {
      warn(text.line, `error in regex at offset ${offset[0]}: ${errorMessage(error[0] ?? 0)}`);
      return undefined;
    }
    lib.pcre2_jit_compile_8(code, JIT_COMPLETE);
    const count = new Uint32Array(1);
    lib.pcre2_pattern_info_8(code, INFO_CAPTURECOUNT, ptr(count));
    const data = lib.pcre2_match_data_create_from_pattern_8(code, null) as Pointer;
    const context = lib.pcre2_match_context_create_8(null) as Pointer;
    lib.pcre2_set_match_limit_8(context, MATCH_LIMIT);
    const handles: Handles = { code, data, context };
    this.handles.push(handles);
    return compiledPattern(handles, count[0] ?? 0, text.line, warn);
  };

  release(): void {
    const lib = pcre2();
    for (const { code, data, context } of this.handles.splice(0)) {
      lib.pcre2_match_data_free_8(data);
      lib.pcre2_match_context_free_8(context);
      lib.pcre2_code_free_8(code);
    }
  }
}

function parseOptions(text: PatternText, warn: RuleWarning): number | undefined {
  let options = CASELESS | DOTALL;
  for (const flag of text.flags) {
    const option = OPTIONS.get(flag);
    if (option !== undefined) options ^= option;
    else if (flag === "X") warn(text.line, 'ignoring obsolete regexp option "X"');
    else {
      warn(text.line, `unknown regexp option "${flag}": skipping this rule`);
      return undefined;
    }
  }
  return options >>> 0;
}

function errorMessage(code: number): string {
  const text = Buffer.alloc(256);
  const length = pcre2().pcre2_get_error_message_8(code, ffi().ptr(text), BigInt(text.length));
  return text.toString("latin1", 0, Math.max(0, length));
}

/** The subject of the current search; several rules look at it one after the other. */
const subjects: { text: string; bytes: Buffer } = { text: "", bytes: EMPTY_SUBJECT };
function subjectBytes(text: string): Buffer {
  if (text === "") return EMPTY_SUBJECT;
  if (subjects.text !== text) {
    subjects.text = text;
    subjects.bytes = toBytes(text);
  }
  return subjects.bytes;
}

function compiledPattern(handles: Handles, groups: number, line: number, warn: RuleWarning): CompiledPattern {
  const { code, data, context } = handles;
  const vector = pcre2().pcre2_get_ovector_pointer_8(data) as Pointer;
  return {
    groups,
    match: (subject) => {
      const { ptr, read } = ffi();
      const bytes = ptr(subjectBytes(subject));
      const run = (options: number): number =>
        pcre2().pcre2_match_8(code, bytes, BigInt(subject.length), 0n, options, data, context);
      let status = run(0);
      if (status === ERROR_JIT_STACKLIMIT) status = run(NO_JIT);
      if (status < 0) {
        if (status !== ERROR_NOMATCH) warn(line, errorMessage(status));
        return undefined;
      }
      return (group) => {
        if (group >= status) return "";
        const start = read.u64(vector, group * 16);
        const end = read.u64(vector, group * 16 + 8);
        // PCRE2_UNSET is ~0; \K may put the start behind the end
        return start > end || end > BigInt(subject.length) ? "" : subject.slice(Number(start), Number(end));
      };
    },
  };
}

export const openPcre: OpenType = (name, options) => {
  const { rules, owner } = readRules("pcre", name);
  try {
    pcre2();
  } catch (failure) {
    throw new TableOpenError(
      `unsupported dictionary type: pcre (libpcre2-8: ${failure instanceof Error ? failure.message : String(failure)})`,
    );
  }
  const warn = ruleWarning("pcre", name);
  const dialect = new PcreDialect();
  const context: DialectContext = { dialect, warn, flags: options.flags };
  const parse = (rule: RuleText) => parsePatternRule(rule, context);
  const program = new RuleProgram(rules, parse, warn, "ignoring ENDIF without matching IF");
  const table = new RuleTable(
    `pcre:${name}`,
    options.flags,
    owner,
    (key) => program.search(key),
    () => dialect.release(),
  );
  return Promise.resolve(table);
};
