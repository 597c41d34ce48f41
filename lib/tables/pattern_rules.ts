/** The rule syntax that regexp and pcre tables share: `[!]/pattern/flags result`, IF and ENDIF (regexp_table(5), pcre_table(5)). */
import { warning } from "../log/log.ts";
import { isAlnumCode, isSpaceCode, trimSpace } from "../sys/bytes.ts";
import { encodeFiles } from "./files.ts";
import { expandReplacement, parseReplacement } from "./replacement.ts";
import { keywordLength, type RuleText, type RuleWarning, type Statement } from "./rules.ts";
import { TableFlag } from "./table.ts";

/** Whether a subject matches, and the text of its groups. */
export interface CompiledPattern {
  /** Number of groups. */
  readonly groups: number;
  /** Undefined: no match. */
  match(subject: string): ((group: number) => string) | undefined;
}

export interface PatternText {
  readonly negated: boolean;
  readonly pattern: string;
  readonly flags: string;
  readonly line: number;
}

/** What differs between the two table types. */
export interface PatternDialect {
  /** Compiles a pattern, or logs why it cannot and returns undefined. `capture`: the groups are asked for. */
  compile(text: PatternText, capture: boolean, warn: RuleWarning): CompiledPattern | undefined;
  /** After `no closing regexp delimiter "c"`. */
  readonly noDelimiterAction: string;
  /** How `$0` is refused. */
  readonly outOfRange: string;
  /** `/p1/!/p2/ result`: p1 matches and p2 does not. */
  readonly exclusion: boolean;
}

export interface DialectContext {
  readonly dialect: PatternDialect;
  readonly warn: RuleWarning;
  /** TableFlag bits. */
  readonly flags: number;
}

/** Parses one logical line; undefined when it was logged and skipped. */
export function parsePatternRule(rule: RuleText, context: DialectContext): Statement<string> | undefined {
  const { text, line } = rule;
  if (!isAlnumCode(text.charCodeAt(0))) return parseMatch(rule, context);
  const ifLength = keywordLength(text, "if");
  if (ifLength > 0) return parseIf(rule, ifLength, context);
  const endifLength = keywordLength(text, "endif");
  if (endifLength === 0) {
    context.warn(line, "ignoring unrecognized request");
    return undefined;
  }
  const problem = trimSpace(text.slice(endifLength)) === "" ? undefined : "ignoring extra text after ENDIF";
  return { kind: "endif", line, problem };
}

function parseIf(rule: RuleText, start: number, context: DialectContext): Statement<string> | undefined {
  const { line } = rule;
  const parsed = readPattern(rule, skipSpace(rule.text, start), context);
  if (parsed === undefined) return undefined;
  const extra = trimSpace(rule.text.slice(parsed.end));
  const compiled = context.dialect.compile(parsed.text, false, context.warn);
  if (compiled === undefined) return undefined;
  if (extra !== "") {
    context.warn(line, `ignoring extra text after IF statement: "${extra}"`);
    context.warn(line, "do not prepend whitespace to statements between IF and ENDIF");
  }
  const { negated } = parsed.text;
  return { kind: "if", line, matches: (subject) => (compiled.match(subject) !== undefined) !== negated };
}

function parseMatch(rule: RuleText, context: DialectContext): Statement<string> | undefined {
  const { dialect, warn } = context;
  const { line } = rule;
  const first = readPattern(rule, 0, context);
  if (first === undefined) return undefined;
  let end = first.end;
  let second: PatternText | undefined;
  if (dialect.exclusion && rule.text.charAt(end) === "!") {
    const parsed = readPattern(rule, end, context);
    if (parsed === undefined) return undefined;
    second = parsed.text;
    end = parsed.end;
  }
  let resultText = trimSpace(rule.text.slice(end));
  if (resultText === "") warn(line, "no replacement text: using empty string");
  if ((context.flags & TableFlag.src_rhs_is_file) !== 0) {
    const encoded = encodeFiles(resultText);
    if (!encoded.ok) {
      warn(line, `${encoded.problem}: skipping this rule`);
      return undefined;
    }
    resultText = encoded.base64;
  }
  const result = parseReplacement(resultText, dialect.outOfRange);
  if (!result.ok) {
    // the scanner of $ expressions knows no files
    if (result.kind === "scan") warning(result.problem);
    else warn(line, result.problem);
    warn(line, "bad replacement syntax: skipping this rule");
    return undefined;
  }
  const { parts, highest } = result;
  const { negated } = first.text;
  if (highest > 0 && negated) {
    warn(line, "$number found in negative match replacement text: skipping this rule");
    return undefined;
  }
  if (highest > 0 && (context.flags & TableFlag.no_regsub) !== 0) {
    warn(line, "regular expression substitution is not allowed: skipping this rule");
    return undefined;
  }
  const compiled = dialect.compile(first.text, highest > 0, warn);
  if (compiled === undefined) return undefined;
  if (highest > compiled.groups) {
    warn(line, `out of range replacement index "${highest}": skipping this rule`);
    return undefined;
  }
  const excluded = second === undefined ? undefined : dialect.compile(second, false, warn);
  if (second !== undefined && excluded === undefined) return undefined;
  const excludedWhen = second === undefined ? true : second.negated;
  const literal = expandReplacement(parts, () => "");

  const apply = (subject: string): string | undefined => {
    const groups = compiled.match(subject);
    if ((groups !== undefined) === negated) return undefined;
    if (excluded !== undefined && (excluded.match(subject) !== undefined) === excludedWhen) return undefined;
    return highest === 0 || groups === undefined ? literal : expandReplacement(parts, groups);
  };
  return { kind: "rule", line, apply };
}

const skipSpace = (text: string, start: number): number => {
  let at = start;
  while (at < text.length && isSpaceCode(text.charCodeAt(at))) at++;
  return at;
};

/** Reads `!...!/pattern/flags` at `start`. */
function readPattern(
  rule: RuleText,
  start: number,
  context: DialectContext,
): { readonly text: PatternText; readonly end: number } | undefined {
  const { text, line } = rule;
  let at = start;
  let negated = false;
  for (; at < text.length; at++) {
    if (text.charAt(at) === "!") negated = !negated;
    else if (!isSpaceCode(text.charCodeAt(at))) break;
  }
  if (at >= text.length) {
    context.warn(line, "no regexp: skipping this rule");
    return undefined;
  }
  const delimiter = text.charAt(at++);
  const patternStart = at;
  while (at < text.length && text.charAt(at) !== delimiter)
    at += text.charAt(at) === "\\" && at + 1 < text.length ? 2 : 1;
  if (at >= text.length) {
    context.warn(line, `no closing regexp delimiter "${delimiter}": ${context.dialect.noDelimiterAction}`);
    return undefined;
  }
  const pattern = text.slice(patternStart, at++);
  const flagsStart = at;
  const endsFlags = (char: string): boolean => context.dialect.exclusion && char === "!";
  while (at < text.length && !isSpaceCode(text.charCodeAt(at)) && !endsFlags(text.charAt(at))) at++;
  return { text: { negated, pattern, flags: text.slice(flagsStart, at), line }, end: at };
}
