/** From the expanded text of a parameter to its typed value. */
import { lowerAscii } from "../sys/bytes.ts";
import type { ParameterKind } from "./parameters.ts";

export interface ValueRules {
  readonly kind: ParameterKind;
  /** 0: not checked. */
  readonly min: number;
  /** 0: not checked. */
  readonly max: number;
  /** Unit of a time without one. */
  readonly unit: string;
}

export type TypedValue = string | number | boolean;
export type ValueResult =
  | { readonly ok: true; readonly value: TypedValue }
  | { readonly ok: false /** Text of the fatal line. */; readonly problem: string };

const good = (value: TypedValue): ValueResult => ({ ok: true, value });
const bad = (problem: string): ValueResult => ({ ok: false, problem });

export function readValue(name: string, text: string, rules: ValueRules): ValueResult {
  switch (rules.kind) {
    case "str":
    case "raw":
      return readText(name, text, rules);
    case "int":
    case "nint":
      return readNumber(name, text, rules, 31n);
    case "long":
      return readNumber(name, text, rules, 63n);
    case "bool":
    case "nbool":
      return readBoolean(name, text);
    case "time":
      return readTime(name, text, rules);
  }
}

function readText(name: string, text: string, { kind, min, max }: ValueRules): ValueResult {
  const fault =
    min !== 0 && text.length < min
      ? `${text.length} < ${min}`
      : max !== 0 && text.length > max
        ? `${text.length} > ${max}`
        : undefined;
  if (fault === undefined) return good(text);
  return bad(`bad string length ${kind === "raw" ? `(${fault})` : fault}: ${name} = ${text}`);
}

const INTEGER = /^[ \t\n\v\f\r]*([+-]?)0*([0-9]{1,19})$/;

function readNumber(name: string, text: string, { min, max }: ValueRules, bits: bigint): ValueResult {
  const match = INTEGER.exec(text);
  const magnitude = BigInt(match?.[2] ?? -1);
  const exact = match?.[1] === "-" ? -magnitude : magnitude;
  if (match === null || exact >= 1n << bits || exact < -(1n << bits))
    return bad(`bad numerical configuration: ${name} = ${text}`);
  const value = Number(exact);
  if (min !== 0 && value < min) return bad(`invalid ${name} parameter value ${exact} < ${min}`);
  if (max !== 0 && value > max) return bad(`invalid ${name} parameter value ${exact} > ${max}`);
  return good(value);
}

function readBoolean(name: string, text: string): ValueResult {
  const word = lowerAscii(text);
  if (word === "yes") return good(true);
  if (word === "no") return good(false);
  return bad(`bad boolean configuration: ${name} = ${text}`);
}

const UNIT_SECONDS: ReadonlyMap<string, number> = new Map([
  ["s", 1],
  ["m", 60],
  ["h", 3600],
  ["d", 86400],
  ["w", 604800],
]);
const DIGITS = /^(?:\+(?=[0-9])|-(?=0+(?:[^0-9]|$)))?0*([0-9]{0,11})/;
const MAX_TIME = 2147483647;

/** Seconds of a time such as `5d`; what follows the unit letter is ignored. Undefined when malformed or above 32 bits. */
export function parseTime(text: string, defaultUnit: string): number | undefined {
  const match = DIGITS.exec(text);
  if (match === null || text === "") return undefined;
  const seconds = UNIT_SECONDS.get(text.charAt(match[0].length) || defaultUnit);
  const value = seconds === undefined ? undefined : Number(match[1]) * seconds;
  return value === undefined || value > MAX_TIME ? undefined : value;
}

function readTime(name: string, text: string, { min, max, unit }: ValueRules): ValueResult {
  const value = parseTime(text, unit);
  if (value === undefined) return bad(`parameter ${name}: bad time value or unit: ${text}`);
  if (min !== 0 && value < min) return bad(`invalid ${name}: ${value} (min ${min})`);
  if (max !== 0 && value > max) return bad(`invalid ${name}: ${value} (max ${max})`);
  return good(value);
}
