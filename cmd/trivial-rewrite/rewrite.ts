/** The rewrite request: incomplete and old-style addresses become user@domain (trivial-rewrite(8), "Rewriting"). */

import { internalToExternal } from "../../lib/address/quote.ts";
import { isOperator, operator, quoted, type Token, tokenize } from "../../lib/address/tokenizer.ts";
import { unparseExternal, unparseInternal } from "../../lib/address/unparser.ts";

/** What one rewriting context appends. */
export interface RewriteContext {
  /** Completes an address without domain; empty: not. */
  readonly origin: string;
  /** Completes a domain without dot; empty: not. */
  readonly domain: string;
}

export interface RewriteOptions {
  readonly swapBangpath: boolean;
  readonly percentHack: boolean;
  readonly appendAtMyorigin: boolean;
  readonly appendDotMydomain: boolean;
  /** Told when append_dot_mydomain took effect only because of an old compatibility_level. */
  readonly onImplicitDotMydomain?: (host: string, domain: string) => void;
}

/** Rewrites one address, external form in and out. */
export function rewriteAddress(external: string, context: RewriteContext, options: RewriteOptions): string {
  const tokens = tokenize(external);
  const rewritten = rewriteTokens(tokens, context, options);
  // Postfix puts no blanks into what it makes of `!path`
  const address = stripRoute(tokens);
  const tight = options.swapBangpath && isOperator(address[0], "!") && lastIndexOf(address, "@") < 0;
  return tight
    ? internalToExternal(rewritten.map((token) => unparseInternal([token])).join(""))
    : unparseExternal(rewritten);
}

const lastIndexOf = (tokens: ReadonlyArray<Token>, text: string): number =>
  tokens.findLastIndex((token) => isOperator(token, text));
const indexOf = (tokens: ReadonlyArray<Token>, text: string): number =>
  tokens.findIndex((token) => isOperator(token, text));

/** The same on tokens; the list given is not changed. */
export function rewriteTokens(
  tokens: ReadonlyArray<Token>,
  context: RewriteContext,
  options: RewriteOptions,
): Token[] {
  const [first, second] = tokens;
  if (first === undefined) return [];
  if (second === undefined) {
    if (first.kind === "quoted" && first.text === "") return [first];
    if (isOperator(first, "@")) return [quoted("")];
  }
  let list = stripRoute(tokens);
  if (lastIndexOf(list, "@") < 0) list = completeDomain(list, context, options);
  appendDomain(list, context, options);
  stripTrailingDot(list);
  return list;
}

/** `@a,@b:user@c` is user@c (RFC 5321 4.1.1.3 asks to ignore source routes). */
function stripRoute(tokens: ReadonlyArray<Token>): Token[] {
  if (!isOperator(tokens[0], "@")) return [...tokens];
  const colon = indexOf(tokens, ":");
  return colon >= 0 && colon < tokens.length - 1 ? tokens.slice(colon + 1) : [...tokens];
}

function completeDomain(tokens: Token[], context: RewriteContext, options: RewriteOptions): Token[] {
  if (options.swapBangpath) {
    const bang = indexOf(tokens, "!");
    if (bang >= 0) return [...tokens.slice(bang + 1), operator("@"), ...tokens.slice(0, bang)];
  }
  if (options.percentHack) {
    const percent = lastIndexOf(tokens, "%");
    if (percent >= 0) return tokens.with(percent, operator("@"));
  }
  if (options.appendAtMyorigin && context.origin !== "")
    return [...tokens, operator("@"), ...tokenize(context.origin)];
  return tokens;
}

function appendDomain(tokens: Token[], context: RewriteContext, options: RewriteOptions): void {
  if (!options.appendDotMydomain || context.domain === "") return;
  const at = lastIndexOf(tokens, "@");
  if (at < 0 || at === tokens.length - 1) return;
  const domain = tokens.slice(at + 1);
  if (domain.some((token) => token.kind === "literal" || isOperator(token, "."))) return;
  options.onImplicitDotMydomain?.(domain.map((token) => token.text).join(""), context.domain);
  tokens.push(operator("."), ...tokenize(context.domain));
}

/** One dot at the end of the domain goes; a second one, or one after `@`, stays. */
export function stripTrailingDot(tokens: Token[]): void {
  if (!isOperator(tokens.at(-1), ".")) return;
  const before = tokens.at(-2);
  if (before === undefined || isOperator(before, ".") || isOperator(before, "@")) return;
  tokens.pop();
}
