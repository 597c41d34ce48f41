/** What a server offers in its reply to EHLO or LHLO. Each session has features of its own. */
import { equalFold, splitAny, upperAscii } from "../sys/bytes.ts";
import { readDecimal } from "../sys/numbers.ts";

export const KEYWORDS = [
  "8BITMIME",
  "PIPELINING",
  "XFORWARD",
  "SIZE",
  "STARTTLS",
  "REQUIRETLS",
  "AUTH",
  "DSN",
  "SMTPUTF8",
] as const;
export type Keyword = (typeof KEYWORDS)[number];

export const XFORWARD_ATTRIBUTES = ["NAME", "ADDR", "PORT", "PROTO", "HELO", "SOURCE", "IDENT"] as const;
export type XforwardAttribute = (typeof XFORWARD_ATTRIBUTES)[number];

export interface Features {
  /** The greeting or a setting allows EHLO, and the server took it. */
  readonly esmtp: boolean;
  readonly keywords: ReadonlySet<Keyword>;
  /** Largest message in bytes; 0 = not known. */
  readonly sizeLimit: number;
  readonly xforward: ReadonlySet<XforwardAttribute>;
  /** Mechanisms of the AUTH lines. */
  readonly auth: ReadonlyArray<string>;
  /** Host name in the first line of the reply. */
  readonly serverName: string;
}

export const NO_FEATURES: Features = {
  esmtp: false,
  keywords: new Set(),
  sizeLimit: 0,
  xforward: new Set(),
  auth: [],
  serverName: "",
};

export interface ParsedFeatures extends Features {
  /** SIZE arguments that are no numbers. */
  readonly badSizes: ReadonlyArray<string>;
}

const isKeyword = (word: string): word is Keyword => (KEYWORDS as ReadonlyArray<string>).includes(word);
const isAttribute = (word: string): word is XforwardAttribute =>
  (XFORWARD_ATTRIBUTES as ReadonlyArray<string>).includes(word);

/** The first word of the first line of a greeting or EHLO reply, without its code. */
export function serverName(reply: string): string {
  const [first = ""] = reply.split("\n", 1);
  return splitAny(first.slice(4), " \t")[0] ?? "";
}

/** Parses a positive reply to EHLO; `discard` are keywords in upper case that are to be ignored. */
export function parseFeatures(reply: string, discard: ReadonlySet<string> = new Set()): ParsedFeatures {
  const keywords = new Set<Keyword>();
  const xforward = new Set<XforwardAttribute>();
  const auth: string[] = [];
  const badSizes: string[] = [];
  let sizeLimit = 0;
  for (const line of reply.split("\n").slice(1)) {
    const [word = "", ...values] = splitAny(line.slice(4), " \t=");
    const keyword = upperAscii(word);
    if (!isKeyword(keyword) || discard.has(keyword)) continue;
    keywords.add(keyword);
    switch (keyword) {
      case "SIZE": {
        const [limit] = values;
        if (limit === undefined) break;
        const size = readDecimal(limit);
        if (size === undefined) badSizes.push(limit);
        else sizeLimit = size;
        break;
      }
      case "XFORWARD":
        for (const value of values.map(upperAscii)) if (isAttribute(value)) xforward.add(value);
        break;
      case "AUTH":
        for (const mechanism of values)
          if (!auth.some((known) => equalFold(known, mechanism))) auth.push(mechanism);
        break;
    }
  }
  return { esmtp: true, keywords, sizeLimit, xforward, auth, serverName: serverName(reply), badSizes };
}

/** Feature bits in the properties of the connection cache (delivery.md 12.2). */
const BITS: ReadonlyArray<readonly [Keyword, number]> = [
  ["8BITMIME", 1],
  ["PIPELINING", 2],
  ["SIZE", 3],
  ["STARTTLS", 4],
  ["AUTH", 5],
  ["DSN", 15],
  ["SMTPUTF8", 21],
  ["REQUIRETLS", 23],
];
const XFORWARD_BITS: Readonly<Record<XforwardAttribute, number>> = {
  NAME: 7,
  ADDR: 8,
  PROTO: 9,
  HELO: 10,
  SOURCE: 11,
  PORT: 18,
  IDENT: 20,
};

export function featureBits(features: Features): number {
  let bits = features.esmtp ? 1 : 0;
  for (const [keyword, bit] of BITS) if (features.keywords.has(keyword)) bits |= 1 << bit;
  for (const attribute of features.xforward) bits |= 1 << XFORWARD_BITS[attribute];
  return bits;
}

/** Features of a connection that another process saved; the size limit is not among them. */
export function featuresOfBits(bits: number): Features {
  const keywords = new Set<Keyword>(
    BITS.filter(([, bit]) => (bits & (1 << bit)) !== 0).map(([keyword]) => keyword),
  );
  const xforward = new Set(
    XFORWARD_ATTRIBUTES.filter((attribute) => (bits & (1 << XFORWARD_BITS[attribute])) !== 0),
  );
  if (xforward.size > 0) keywords.add("XFORWARD");
  return { ...NO_FEATURES, esmtp: (bits & 1) !== 0, keywords, xforward };
}
