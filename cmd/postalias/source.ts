/** The source of alias tables: `name: value, value`, each line an RFC 822 address list with one colon more. */
import { isOperator, type Token, tokenize } from "../../lib/address/tokenizer.ts";
import { unparseList } from "../../lib/address/unparser.ts";
import type { SourceRecord } from "../../lib/table_maker/program.ts";

const skip = (problem: string): SourceRecord => ({ kind: "skip", problem });

/** One logical line. */
export function parseAlias(line: string): SourceRecord {
  const tokens = tokenize(line);
  const colon = tokens.findIndex((token) => isOperator(token, ":"));
  const name = tokens.slice(0, Math.max(0, colon));
  const value = tokens.slice(colon + 1);
  if (colon <= 0 || value.length === 0 || name.some((token) => isOperator(token, ",")))
    return skip("need name:value pair");
  if (name.some((token) => isOperator(token, "@") || isOperator(token, "%")))
    return skip("name must be local and have no domain");
  return { kind: "record", key: external(name), value: external(value) };
}

/** External form; a comma at the end keeps its blank. */
function external(tokens: ReadonlyArray<Token>): string {
  const text = unparseList(tokens, "list");
  return isOperator(tokens.at(-1), ",") ? `${text} ` : text;
}
