/** From a flat token list to a list of addresses, right to left, losing nothing (missing commas are repaired). */
import { isPlain } from "./quote.ts";
import { atom, isOperator, type Operator, operator, type Token, tokenize } from "./tokenizer.ts";

export interface AddressNode {
  readonly kind: "address";
  readonly tokens: Token[];
}
/** An address, or a loose token around addresses: comma, word of a phrase, bracket, comment. */
export type Item = Token | AddressNode;

/** The colon between a group's name and its members, printed with a blank. */
export const GROUP_COLON: Operator = { kind: "operator", text: ": " };
const COMMA = operator(",");
const COLON = operator(":");

/** Parses external-form text, at most `limit` tokens of it. */
export const parseAddresses = (text: string, limit?: number): Item[] => parseTokens(tokenize(text, limit));

const isWord = (token: Token): boolean => token.kind !== "operator";

export function parseTokens(tokens: ReadonlyArray<Token>): Item[] {
  /** Everything to the right of the pending run, and the run itself, both reversed. */
  const done: Item[] = [];
  let run: Token[] = [];
  let wordOk = true;
  let inGroup = false;

  const group = (addComma: boolean): void => {
    if (run.length === 0) return;
    done.push({ kind: "address", tokens: run.reverse() });
    run = [];
    if (addComma) done.push(COMMA);
  };

  let at = tokens.length - 1;
  const take = (token: Token): void => {
    if (token.kind === "comment") {
      done.push(token);
      return;
    }
    if (isWord(token)) {
      if (!wordOk) group(true);
      wordOk = false;
      run.push(token);
      return;
    }
    switch (token.text) {
      case ";":
        group(true);
        done.push(token);
        inGroup = true;
        wordOk = true;
        return;
      case ",":
        group(false);
        done.push(token);
        wordOk = true;
        return;
      case ">":
        group(true);
        done.push(token);
        at = route(tokens, at - 1, done);
        wordOk = true;
        // a colon before the phrase that begins no group belongs to nothing
        if (!inGroup && isOperator(tokens[at - 1], ":")) {
          done.push(COLON);
          at--;
        }
        return;
      case ":":
        if (inGroup) {
          group(false);
          done.push(GROUP_COLON);
          at = loose(tokens, at - 1, ",", done);
          wordOk = true;
          return;
        }
    }
    wordOk = true;
    run.push(token);
  };

  for (; at >= 0; at--) {
    const token = tokens[at];
    if (token !== undefined) take(token);
  }
  group(false);
  return done.reverse();
}

/** What lies between `<` and `>`, read leftwards from `at`, then the phrase before it. Returns the index of the last token taken. */
function route(tokens: ReadonlyArray<Token>, at: number, done: Item[]): number {
  const inner: Token[] = [];
  let index = at;
  for (; index >= 0; index--) {
    const token = tokens[index];
    if (token === undefined || (token.kind === "operator" && token.text === "<")) break;
    if (token.kind === "comment") done.push(token);
    else inner.push(token);
  }
  if (inner.length > 0) done.push({ kind: "address", tokens: inner.reverse() });
  if (index < 0) return index;
  done.push(operator("<"));
  return loose(tokens, index - 1, ">;,:", done);
}

/** Passes loose tokens leftwards until one of the operators; returns the index of the last one passed. */
function loose(tokens: ReadonlyArray<Token>, at: number, until: string, done: Item[]): number {
  let index = at;
  for (; index >= 0; index--) {
    const token = tokens[index];
    if (token === undefined || (token.kind === "operator" && until.includes(token.text))) break;
    done.push(token);
  }
  return index + 1;
}

/** One address given in external form, whatever it holds. */
export function singleAddress(external: string): AddressNode {
  const tokens = tokenize(external);
  return { kind: "address", tokens: tokens.length === 0 ? [atom("")] : tokens };
}

const BETWEEN = /[ \t\r\n,]+/;

/** The addresses of a list that has only plain ones, without taking it apart into tokens. */
export function plainAddresses(text: string): string[] | undefined {
  const addresses = text.split(BETWEEN);
  return addresses.every(isPlain) ? addresses : undefined;
}

/** The address nodes of a parsed list, in order. */
export const addressNodes = (items: ReadonlyArray<Item>): AddressNode[] =>
  items.filter((item): item is AddressNode => item.kind === "address");
