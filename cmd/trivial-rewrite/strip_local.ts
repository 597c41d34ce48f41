/** Finds the domain that decides about an address, by taking away the local ones around it: `user%a@mydomain` is user@a. */
import { internalToExternal } from "../../lib/address/quote.ts";
import { atom, isOperator, operator, type Token, tokenize } from "../../lib/address/tokenizer.ts";
import { unparseInternal } from "../../lib/address/unparser.ts";
import { warning } from "../../lib/log/log.ts";
import type { Soon } from "../../lib/sys/when.ts";
import { type RewriteContext, type RewriteOptions, rewriteTokens, stripTrailingDot } from "./rewrite.ts";

export interface StripOptions {
  readonly rewrite: RewriteOptions;
  /** The local rewriting context. */
  readonly context: RewriteContext;
  readonly resolveNullDomain: boolean;
  readonly resolveDequotedAddress: boolean;
  readonly emptyAddressRecipient: string;
  readonly myhostname: string;
  isLocalDomain(domain: string): Soon<boolean | "error">;
}

export type Stripped =
  | { readonly kind: "local" | "remote" /** Internal form. */; readonly recipient: string }
  | { readonly kind: "error" };

export async function stripLocalDomains(address: string, options: StripOptions): Promise<Stripped> {
  let tokens: Token[] = tokenize(internalToExternal(address));
  let saved: Token[] | undefined;
  const limit = address.length + 100;
  for (let round = 0; round < limit; round++) {
    if (tokens.some((token) => isOperator(token, "@"))) stripTrailingDot(tokens);
    if (options.resolveNullDomain && isOperator(tokens.at(-1), "@")) tokens.pop();

    const at = tokens.findLastIndex((token) => isOperator(token, "@"));
    if (at >= 0) {
      const domain = tokens.slice(at + 1);
      if (domain.length > 0) {
        const local = await options.isLocalDomain(unparseInternal(domain));
        if (local === "error") return { kind: "error" };
        if (!local) return { kind: "remote", recipient: unparseInternal(tokens) };
      }
      saved = domain;
      tokens = tokens.slice(0, at);
    }

    if (isRoutable(tokens, options)) {
      tokens = rewriteTokens(tokens, options.context, options.rewrite);
      continue;
    }
    const dequoted = options.resolveDequotedAddress ? dequote(tokens, options) : undefined;
    if (dequoted !== undefined) {
      tokens = rewriteTokens(dequoted, options.context, options.rewrite);
      continue;
    }
    const [first] = tokens;
    if (first === undefined || (tokens.length === 1 && first.kind === "quoted" && first.text === "")) {
      tokens = [atom(options.emptyAddressRecipient)];
      continue;
    }
    if (saved === undefined) {
      tokens = [...tokens, operator("@"), ...tokenize(options.myhostname)];
      continue;
    }
    return { kind: "local", recipient: unparseInternal([...tokens, operator("@"), ...saved]) };
  }
  warning(`resolve_addr: <${address}>: giving up after ${limit} iterations`);
  return { kind: "error" };
}

/** What is left still has a domain, or something that rewriting makes one. */
function isRoutable(tokens: ReadonlyArray<Token>, options: StripOptions): boolean {
  return tokens.some(
    (token) =>
      isOperator(token, "@") ||
      (options.rewrite.swapBangpath && isOperator(token, "!")) ||
      (options.rewrite.percentHack && isOperator(token, "%")),
  );
}

/** Looks into a localpart that is one quoted string: `"user@remote"@mydomain`. Undefined when there is nothing to find. */
function dequote(tokens: ReadonlyArray<Token>, options: StripOptions): Token[] | undefined {
  const [only] = tokens;
  if (tokens.length !== 1 || only?.kind !== "quoted") return undefined;
  const { text } = only;
  const at = text.lastIndexOf("@");
  if (at >= 0) return tokenize(internalToExternal(text));
  const percent = options.rewrite.percentHack ? text.lastIndexOf("%") : -1;
  if (percent >= 0)
    return tokenize(internalToExternal(`${text.slice(0, percent)}@${text.slice(percent + 1)}`));
  if (options.rewrite.swapBangpath && text.includes("!")) return tokenize(text);
  return undefined;
}
