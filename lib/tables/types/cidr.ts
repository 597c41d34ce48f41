/** `cidr:file`, `cidr:{{rule}, ...}`: address patterns in order, first match wins (cidr_table(5)). */
import { isSpaceCode, trimSpace } from "../../sys/bytes.ts";
import { encodeFiles } from "../files.ts";
import { contains, type Network, parseAddress, parseNetwork } from "../network.ts";
import {
  keywordLength,
  RuleProgram,
  RuleTable,
  type RuleText,
  type RuleWarning,
  readRules,
  ruleWarning,
  type Statement,
} from "../rules.ts";
import { type OpenType, TableFlag } from "../table.ts";

export const openCidr: OpenType = (name, options) => {
  const { rules, owner } = readRules("cidr", name);
  const warn = ruleWarning("cidr", name);
  const parse = (rule: RuleText) => parseRule(rule, warn, (options.flags & TableFlag.src_rhs_is_file) !== 0);
  const program = new RuleProgram(rules, parse, warn, "ENDIF without IF: skipping this rule");
  const find = (key: string): string | undefined => {
    const address = parseAddress(key);
    return address === undefined ? undefined : program.search(address);
  };
  return Promise.resolve(new RuleTable(`cidr:${name}`, options.flags, owner, find));
};

type CidrStatement = Statement<Uint8Array>;

function parseRule(rule: RuleText, warn: RuleWarning, isFile: boolean): CidrStatement | undefined {
  const { text, line } = rule;
  const skip = (problem: string): undefined => warn(line, `${problem}: skipping this rule`) as undefined;
  const endif = keywordLength(text, "endif");
  if (endif > 0)
    return trimSpace(text.slice(endif)) === "" ? { kind: "endif", line } : skip("garbage after ENDIF");
  const condition = keywordLength(text, "if");
  let at = condition;
  let negated = false;
  for (; at < text.length; at++) {
    if (text.charAt(at) === "!") negated = !negated;
    else if (!isSpaceCode(text.charCodeAt(at))) break;
  }
  const start = at;
  while (at < text.length && !isSpaceCode(text.charCodeAt(at))) at++;
  const pattern = text.slice(start, at);
  if (pattern === "") return skip("no address pattern");
  const parsed = parseNetwork(pattern);
  let result = trimSpace(text.slice(at));
  if (!parsed.ok) return skip(parsed.problem);
  if (condition === 0 && result === "") return skip("no lookup result");
  const matches = matcher(parsed.network, negated);
  if (condition > 0) return { kind: "if", line, matches };
  if (isFile) {
    const encoded = encodeFiles(result);
    if (!encoded.ok) return skip(encoded.problem);
    result = encoded.base64;
  }
  return { kind: "rule", line, apply: (address) => (matches(address) ? result : undefined) };
}

/** A pattern of one address family says nothing about the other, negated or not. */
const matcher =
  (network: Network, negated: boolean) =>
  (address: Uint8Array): boolean =>
    network.bytes.length === address.length && contains(network, address) !== negated;
