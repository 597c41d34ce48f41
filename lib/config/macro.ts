/**
 * The `$name` grammar of main.cf, shared by every text that has such references (reply templates, pipe arguments, `$1` in table results).
 * Parsing is separate from expansion, so that postconf can look at both branches of a conditional.
 */
import { isAlnumCode } from "../sys/bytes.ts";

export type RelationalOperator = "==" | "!=" | "<" | "<=" | ">=" | ">";

export type MacroNode =
  | { readonly kind: "literal"; readonly text: string }
  | { readonly kind: "name"; readonly name: string }
  | ({ readonly kind: "conditional"; readonly test: string | Relation } & Branches)
  | { readonly kind: "relation"; readonly relation: Relation }
  | { readonly kind: "function"; readonly name: string; readonly argument: string };

export interface Relation {
  readonly left: string;
  readonly operator: RelationalOperator;
  /** Operands are compatibility levels. */
  readonly level: boolean;
  readonly right: string;
}

/** Unexpanded results: for a true (non-empty) and for a false test. */
export interface Branches {
  readonly whenTrue: string | undefined;
  readonly whenFalse: string | undefined;
}

/** What stands before the first error, and that error. */
export interface ParsedMacros {
  readonly nodes: ReadonlyArray<MacroNode>;
  readonly problem: string | undefined;
}

const OPERATORS: ReadonlySet<string> = new Set(["==", "!=", "<", "<=", ">=", ">"]);
const OPERATOR_CHARACTERS = "<>!=?+-*/~&|%";
const OPERATOR_EXPECTED = '"==" or "!="" or "<"" or "<="" or ">="" or ">" expected';
export const NAMED_FUNCTIONS: ReadonlySet<string> = new Set(["domain_to_ascii", "domain_to_utf8"]);

/** Ends the parsing of one text; never leaves this module. */
class MacroProblem extends Error {}

/** `WHAT at: "...BEFORE>>>REST"`, the rest cut to 20 bytes. */
const at = (what: string, before: string, rest: string): string =>
  `${what}: "...${before}>>>${rest.slice(0, 20)}"`;

export function parseMacros(text: string): ParsedMacros {
  const nodes: MacroNode[] = [];
  try {
    scan(text, nodes);
  } catch (error) {
    if (error instanceof MacroProblem) return { nodes, problem: error.message };
    throw error;
  }
  return { nodes, problem: undefined };
}

function scan(text: string, nodes: MacroNode[]): void {
  let literal = "";
  const flush = (): void => {
    if (literal !== "") nodes.push({ kind: "literal", text: literal });
    literal = "";
  };
  for (let position = 0; position < text.length; ) {
    const dollar = text.indexOf("$", position);
    if (dollar < 0) {
      literal += text.slice(position);
      break;
    }
    literal += text.slice(position, dollar);
    const next = text.charAt(dollar + 1);
    if (next === "$") {
      literal += "$";
      position = dollar + 2;
    } else if (next === "{" || next === "(") {
      flush();
      const end = matchingBracket(text, dollar + 1, next, next === "{" ? "}" : ")");
      if (end < 0) throw new MacroProblem(`truncated macro reference: "${text}"`);
      if (end === dollar + 2) throw new MacroProblem(`empty macro name: "${text}"`);
      nodes.push(parseExpression(text.slice(dollar + 2, end)));
      position = end + 1;
    } else {
      flush();
      const end = nameEnd(text, dollar + 1);
      if (end === dollar + 1) throw new MacroProblem(`empty macro name: "${text}"`);
      nodes.push({ kind: "name", name: text.slice(dollar + 1, end) });
      position = end;
    }
  }
  flush();
}

/** Index of the bracket that closes the one at `start`, counting brackets of the same kind only, or -1. */
function matchingBracket(text: string, start: number, open: string, close: string): number {
  let depth = 0;
  for (let index = start; index < text.length; index++) {
    const character = text.charAt(index);
    if (character === open) depth++;
    else if (character === close && --depth === 0) return index;
  }
  return -1;
}

function nameEnd(text: string, start: number): number {
  let end = start;
  while (end < text.length && (isAlnumCode(text.charCodeAt(end)) || text.charAt(end) === "_")) end++;
  return end;
}

/** White space of expressions: blank, TAB, CR, LF. */
function skipBlanks(text: string, start: number): number {
  let index = start;
  while (index < text.length && " \t\r\n".includes(text.charAt(index))) index++;
  return index;
}

function trimBlanks(text: string): string {
  let end = text.length;
  while (end > 0 && " \t\r\n".includes(text.charAt(end - 1))) end--;
  return text.slice(Math.min(skipBlanks(text, 0), end), end);
}

function parseExpression(inner: string): MacroNode {
  const start = skipBlanks(inner, 0);
  if (inner.charAt(start) === "{") return parseRelation(inner, start);
  const end = nameEnd(inner, start);
  const name = inner.slice(start, end);
  const after = skipBlanks(inner, end);
  switch (inner.charAt(after)) {
    case "":
      return { kind: "name", name };
    case "?":
    case ":":
      return { kind: "conditional", test: name, ...parseBranches(inner, after) };
    case "{":
      return parseFunction(inner, start, name, after);
    default:
      throw new MacroProblem(at("attribute name syntax error at", inner.slice(0, end), inner.slice(end)));
  }
}

function parseFunction(inner: string, start: number, name: string, brace: number): MacroNode {
  if (!NAMED_FUNCTIONS.has(name))
    throw new MacroProblem(`unknown function "${name}" at"...>>>${inner.slice(start, start + 20)}"`);
  const { content, end } = braced(inner, brace);
  const rest = skipBlanks(inner, end);
  if (rest < inner.length)
    throw new MacroProblem(at("unexpected input at", `${content}}`, inner.slice(rest)));
  return { kind: "function", name, argument: trimBlanks(content) };
}

/** The content of the balanced `{...}` at `brace`, and the index after it. */
function braced(inner: string, brace: number): { content: string; end: number } {
  const close = matchingBracket(inner, brace, "{", "}");
  if (close < 0) throw new MacroProblem(`unbalanced {} in attribute expression: "${inner.slice(brace)}"`);
  return { content: inner.slice(brace + 1, close), end: close + 1 };
}

function parseRelation(inner: string, brace: number): MacroNode {
  const left = braced(inner, brace);
  const start = skipBlanks(inner, left.end);
  let end = start;
  while (end < inner.length && OPERATOR_CHARACTERS.includes(inner.charAt(end))) end++;
  const operator = inner.slice(start, end);
  if (!isOperator(operator))
    throw new MacroProblem(at(`${OPERATOR_EXPECTED} at`, `${left.content}}`, inner.slice(start)));
  const suffixEnd = alnumEnd(inner, end);
  const suffix = inner.slice(end, suffixEnd);
  // The blank between an operator and its suffix is optional: `<level {3.6}`, `>=level{2}`.
  if (suffix !== "" && suffix !== "level")
    throw new MacroProblem(at("bad operator suffix at", operator, suffix));
  const operand = skipBlanks(inner, suffixEnd);
  if (inner.charAt(operand) !== "{")
    throw new MacroProblem(
      at('"{expression}" expected at', `{${left.content}} ${operator}${suffix}`, inner.slice(suffixEnd)),
    );
  const right = braced(inner, operand);
  const relation: Relation = { left: left.content, operator, level: suffix !== "", right: right.content };
  const after = skipBlanks(inner, right.end);
  switch (inner.charAt(after)) {
    case "":
      return { kind: "relation", relation };
    case "?":
    case ":":
      return { kind: "conditional", test: relation, ...parseBranches(inner, after) };
    default:
      throw new MacroProblem(at('"?" or ":" expected at', "}", inner.slice(after)));
  }
}

const isOperator = (text: string): text is RelationalOperator => OPERATORS.has(text);

function alnumEnd(text: string, start: number): number {
  let end = start;
  while (end < text.length && isAlnumCode(text.charCodeAt(end))) end++;
  return end;
}

/** `?THEN`, `?{THEN}:ELSE`, `:ELSE`, with either part braced or not. */
function parseBranches(inner: string, mark: number): Branches {
  if (inner.charAt(mark) === ":") return { whenTrue: undefined, whenFalse: parseElse(inner, mark) };
  const brace = skipBlanks(inner, mark + 1);
  if (inner.charAt(brace) !== "{") return { whenTrue: inner.slice(mark + 1), whenFalse: undefined };
  const { content, end } = braced(inner, brace);
  const after = skipBlanks(inner, end);
  if (after === inner.length) return { whenTrue: content, whenFalse: undefined };
  if (inner.charAt(after) !== ":")
    throw new MacroProblem(at('":" expected at', `${content}}`, inner.slice(after)));
  return { whenTrue: content, whenFalse: parseElse(inner, after) };
}

function parseElse(inner: string, colon: number): string {
  const brace = skipBlanks(inner, colon + 1);
  if (inner.charAt(brace) !== "{") return inner.slice(colon + 1);
  const { content, end } = braced(inner, brace);
  const after = skipBlanks(inner, end);
  if (after < inner.length)
    throw new MacroProblem(at("unexpected input at", `${content}}`, inner.slice(after)));
  return content;
}
