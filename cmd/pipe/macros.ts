/** `$name` and `${name}` in the arguments of the command: replaced once, and never looked at again (pipe(8)). */
import { internalToExternal } from "../../lib/address/quote.ts";
import { type ExtensionRules, splitAddress, splitExtension } from "../../lib/address/split.ts";
import type { DeliveryRequest, Recipient } from "../../lib/delivery/request.ts";
import { foldCase } from "../../lib/tables/casefold.ts";
import type { PipeAttributes } from "./attributes.ts";

export type Expansion =
  | { readonly ok: true; readonly argv: ReadonlyArray<string> }
  /** `unknown`: a name; without it `problem` says what is wrong with the syntax. */
  | { readonly ok: false; readonly unknown: string }
  | { readonly ok: false; readonly unknown?: undefined; readonly problem: string };

export interface MacroContext {
  readonly request: Omit<DeliveryRequest, "fd" | "path">;
  readonly attributes: Pick<PipeAttributes, "flags" | "argv">;
  /** The sender, or what stands for the null sender. */
  readonly sender: string;
  readonly extension: ExtensionRules;
  readonly utf8: boolean;
}

/** The arguments for a request. One that names a recipient is repeated for each; an empty result keeps its place. */
export function expandArguments(context: MacroContext): Expansion {
  const { request, attributes } = context;
  const common = requestMacros(context);
  const argv: string[] = [];
  for (const word of attributes.argv) {
    const parsed = parse(word);
    if (!parsed.ok) return parsed;
    const { parts } = parsed;
    if (!parts.some(({ kind, text }) => kind === "macro" && RECIPIENT_MACROS.has(text))) {
      const expanded = substitute(parts, (name) => common.get(name));
      if (!expanded.ok) return expanded;
      argv.push(expanded.text);
      continue;
    }
    for (const recipient of request.recipients) {
      const own = recipientMacros(recipient, context);
      const expanded = substitute(parts, (name) => own.get(name) ?? common.get(name));
      if (!expanded.ok) return expanded;
      argv.push(expanded.text);
    }
  }
  return { ok: true, argv };
}

const RECIPIENT_MACROS: ReadonlySet<string> = new Set([
  "recipient",
  "original_recipient",
  "user",
  "extension",
  "mailbox",
  "domain",
]);

function requestMacros({ request, attributes, sender, utf8 }: MacroContext): ReadonlyMap<string, string> {
  const { flags } = attributes;
  return new Map([
    ["client_address", request.clientAddress],
    ["client_helo", request.clientHelo],
    ["client_hostname", request.clientName],
    ["client_port", request.clientPort],
    ["client_protocol", request.clientProtocol],
    ["envid", request.envelopeId],
    ["nexthop", flags.foldDomain ? foldCase(request.nexthop, utf8) : request.nexthop],
    ["queue_id", request.queueId],
    ["sasl_method", request.saslMethod],
    ["sasl_sender", request.saslSender],
    ["sasl_username", request.saslUsername],
    ["sender", flags.quoteAddresses && sender !== "" ? internalToExternal(sender) : sender],
    ["size", String(request.size)],
  ]);
}

function recipientMacros(
  { recipient, originalRecipient }: Recipient,
  { attributes: { flags }, extension: rules, utf8 }: MacroContext,
): ReadonlyMap<string, string> {
  const folded = (address: string) => {
    const { local, domain } = splitAddress(address);
    return {
      local: flags.foldLocal ? foldCase(local, utf8) : local,
      domain: domain !== undefined && flags.foldDomain ? foldCase(domain, utf8) : domain,
    };
  };
  const whole = (address: string): string => {
    const { local, domain } = folded(address);
    const text = domain === undefined ? local : `${local}@${domain}`;
    return flags.quoteAddresses ? internalToExternal(text) : text;
  };
  const { local, domain } = folded(recipient);
  const split = splitExtension(local, rules);
  return new Map([
    ["recipient", whole(recipient)],
    ["original_recipient", whole(originalRecipient)],
    ["user", split?.user ?? local],
    ["extension", split?.extension.slice(1) ?? ""],
    ["mailbox", local],
    ["domain", domain ?? ""],
  ]);
}

interface Part {
  readonly kind: "text" | "macro";
  readonly text: string;
}

type Parsed =
  | { readonly ok: true; readonly parts: ReadonlyArray<Part> }
  | { readonly ok: false; readonly problem: string };

const MACRO = /\$(?:\$|\{([^}]*)(\}?)|\(([^)]*)(\)?)|([A-Za-z0-9_]*))/g;

function parse(word: string): Parsed {
  const parts: Part[] = [];
  let end = 0;
  for (const match of word.matchAll(MACRO)) {
    const [whole, braced, brace, round, bracket, bare] = match;
    if (match.index > end) parts.push({ kind: "text", text: word.slice(end, match.index) });
    end = match.index + whole.length;
    if (whole === "$$") {
      parts.push({ kind: "text", text: "$" });
      continue;
    }
    if (brace === "" || bracket === "") return { ok: false, problem: `truncated macro reference: "${word}"` };
    const name = braced ?? round ?? bare ?? "";
    if (name === "") return { ok: false, problem: `empty macro name: "${word}"` };
    parts.push({ kind: "macro", text: name });
  }
  if (end < word.length || parts.length === 0) parts.push({ kind: "text", text: word.slice(end) });
  return { ok: true, parts };
}

function substitute(
  parts: ReadonlyArray<Part>,
  value: (name: string) => string | undefined,
): { readonly ok: true; readonly text: string } | { readonly ok: false; readonly unknown: string } {
  let text = "";
  for (const part of parts) {
    const replacement = part.kind === "text" ? part.text : value(part.text);
    if (replacement === undefined) return { ok: false, unknown: part.text };
    text += replacement;
  }
  return { ok: true, text };
}
