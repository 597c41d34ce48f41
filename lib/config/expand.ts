/** Expansion of `$name` texts by a lookup function (lib/config/macro.ts has the grammar). */
import { domainToAscii, domainToUtf8 } from "./domain_functions.ts";
import { compareLevels, parseLevel } from "./level.ts";
import { type MacroNode, parseMacros, type Relation } from "./macro.ts";

export interface ExpandOptions {
  /** The value of a name, undefined when there is none. */
  readonly lookup: (name: string) => string | undefined;
  /** Values found are scanned for `$name` themselves (main.cf), or are final (attributes of a message or session). */
  readonly recursive: boolean;
  /** Names whose values are final all the same. */
  readonly isFinal?: (name: string) => boolean;
  /** Characters allowed in values of names; others become `_` (command_expansion_filter and the like). */
  readonly filter?: ReadonlySet<string>;
}

export type Expansion =
  | {
      readonly ok: true;
      readonly value: string /** Some name in use had no value. */;
      readonly undefinedName: boolean;
    }
  | {
      readonly ok: false;
      /** Warnings that say what is wrong. */
      readonly problems: ReadonlyArray<string>;
      /** The fatal text, when it is not the caller's own. */
      readonly fatal?: string;
    };

/** More nested references than this are an error; so end definitions that refer to themselves. */
const MAX_NESTING = 101;
/** Comparisons within the operands of comparisons. */
const MAX_COMPARISONS = 20;

class ExpansionProblem extends Error {
  readonly problems: ReadonlyArray<string>;
  readonly fatal: string | undefined;
  constructor(problems: ReadonlyArray<string>, fatal?: string) {
    super(problems.join("; "));
    this.problems = problems;
    this.fatal = fatal;
  }
}

export function expandMacros(text: string, options: ExpandOptions): Expansion {
  if (!text.includes("$")) return { ok: true, value: text, undefinedName: false };
  const state = { options, comparisons: 0, undefinedName: false };
  try {
    return { ok: true, value: expandText(text, state, 0), undefinedName: state.undefinedName };
  } catch (error) {
    if (error instanceof ExpansionProblem)
      return error.fatal === undefined
        ? { ok: false, problems: error.problems }
        : { ok: false, problems: error.problems, fatal: error.fatal };
    throw error;
  }
}

interface ExpandState {
  readonly options: ExpandOptions;
  /** Comparisons within comparisons; each counts the nesting of its operands anew. */
  comparisons: number;
  undefinedName: boolean;
}

function expandText(text: string, state: ExpandState, level: number): string {
  if (level > 0 && !text.includes("$")) return text;
  const { nodes, problem } = parseMacros(text);
  let value = "";
  for (const node of nodes) {
    if (level >= MAX_NESTING)
      throw new ExpansionProblem([`unreasonable macro call nesting: "${nodeName(node)}"`]);
    value += expandNode(node, state, level + 1);
  }
  if (problem !== undefined) throw new ExpansionProblem([problem]);
  return value;
}

function nodeName(node: MacroNode): string {
  switch (node.kind) {
    case "literal":
      return node.text;
    case "name":
    case "function":
      return node.name;
    case "conditional":
      return typeof node.test === "string" ? node.test : relationText(node.test);
    case "relation":
      return relationText(node.relation);
  }
}

const relationText = (relation: Relation): string =>
  `{${relation.left}} ${relation.operator}${relation.level ? "level" : ""} {${relation.right}}`;

function expandNode(node: MacroNode, state: ExpandState, level: number): string {
  switch (node.kind) {
    case "literal":
      return node.text;
    case "name":
      return expandName(node.name, state, level);
    case "function":
      return callFunction(node.name, expandText(node.argument, state, level));
    case "relation":
      return holds(node.relation, state) ? "true" : "";
    case "conditional": {
      const test =
        typeof node.test === "string"
          ? (state.options.lookup(node.test) ?? "") !== ""
          : holds(node.test, state);
      const result = test ? node.whenTrue : node.whenFalse;
      return result === undefined ? "" : expandText(result, state, level);
    }
  }
}

function expandName(name: string, state: ExpandState, level: number): string {
  const found = state.options.lookup(name);
  if (found === undefined) {
    state.undefinedName = true;
    return "";
  }
  if (state.options.recursive && state.options.isFinal?.(name) !== true)
    return expandText(found, state, level);
  return state.options.filter === undefined ? found : filtered(found, state.options.filter);
}

function filtered(value: string, allowed: ReadonlySet<string>): string {
  let out = "";
  for (let index = 0; index < value.length; index++) {
    const character = value.charAt(index);
    out += allowed.has(character) ? character : "_";
  }
  return out;
}

const DIGITS = /^[0-9]+$/;

function holds(relation: Relation, state: ExpandState): boolean {
  if (state.comparisons >= MAX_COMPARISONS)
    throw new ExpansionProblem([`unreasonable macro call nesting: "${relationText(relation)}"`]);
  state.comparisons++;
  const left = expandText(relation.left, state, 0);
  const right = expandText(relation.right, state, 0);
  state.comparisons--;
  const order = relation.level
    ? compareLevels(levelOf(left), levelOf(right))
    : DIGITS.test(left) && DIGITS.test(right)
      ? compare(longOf(left), longOf(right))
      : compare(left, right);
  switch (relation.operator) {
    case "==":
      return order === 0;
    case "!=":
      return order !== 0;
    case "<":
      return order < 0;
    case "<=":
      return order <= 0;
    case ">=":
      return order >= 0;
    case ">":
      return order > 0;
  }
}

const compare = <T extends string | bigint>(a: T, b: T): number => (a < b ? -1 : a > b ? 1 : 0);

function levelOf(text: string): number {
  const level = parseLevel(text);
  if (level === undefined) throw new ExpansionProblem([`malformed compatibility level syntax: "${text}"`]);
  return level;
}

function longOf(text: string): bigint {
  const digits = text.replace(/^0+(?=[0-9])/, "");
  const value = digits.length > 19 ? undefined : BigInt(digits);
  if (value === undefined || value > 0x7fff_ffff_ffff_ffffn)
    throw new ExpansionProblem([], `mac_exp_eval: bad conversion: ${text}`);
  return value;
}

function callFunction(name: string, argument: string): string {
  const converted = name === "domain_to_ascii" ? domainToAscii(argument) : domainToUtf8(argument);
  if (converted.ok) return converted.value;
  throw new ExpansionProblem([converted.problem, `bad domain argument in: '${name}{${argument}}'`]);
}
