/** Parameters that take names from a fixed set: another word ends the program. */
import { fatal } from "../log/log.ts";
import { parseNames } from "./lists.ts";

/** The names in a value; `parameter` is what the parameter is called in the message. */
export function namesOf<T extends string>(
  parameter: string,
  value: string,
  known: ReadonlyArray<T>,
): ReadonlySet<T> {
  const parsed = parseNames(parameter, value, known);
  return parsed.ok ? parsed.names : fatal(parsed.problem);
}
