/**
 * The attribute protocol: lists of named values. A message is declared once (`message(...)`); its TypeScript type, its encoder
 * and its decoder derive from the declaration. Encodings: "attr0" (name NUL value NUL ... NUL) and "plain" (name=value\n ... \n).
 * Source: ipc.md 3.
 */

import { warning } from "../log/log.ts";
import { isDigitCode, isSpaceCode } from "../sys/bytes.ts";
import { type Channel, ChannelTimeout } from "../sys/channel.ts";
import { errorText } from "../sys/errno.ts";
import { type Soon, when } from "../sys/when.ts";

/** Longest attribute list that we accept in bytes; far above what any peer sends, so that a hostile one cannot fill the memory. */
export const MESSAGE_LIMIT = 4 * 1024 * 1024;
/** What all long lists of this process that have not come to their end may hold together: a hostile peer has many connections. */
const UNFINISHED_LIMIT = 32 * 1024 * 1024;
/** Shorter lists are not counted. */
const LONG_LIST = 256 * 1024;
const HASH_LIMIT = 1024;

let unfinished = 0;

export type Encoding = "attr0" | "plain";

type FieldKind = "int" | "long" | "string" | "data" | "constant" | "hash";

export interface Field<K extends string, V> {
  /** Name on the wire; two fields of a message may share one. */
  readonly name: string;
  /** What stands before the value in "attr0". */
  readonly head: string;
  /** Key of the value in the typed message. */
  readonly key: K;
  readonly kind: FieldKind;
  readonly constant?: string;
  /** Never there at run time: carries the value's type. */
  readonly value?: V;
}

type Declare<V> = {
  <const N extends string>(name: N): Field<N, V>;
  <const K extends string>(name: string, key: K): Field<K, V>;
};
const declare =
  <V>(kind: FieldKind): Declare<V> =>
  (name: string, key?: string) =>
    ({ name, head: `${name}\0`, key: key ?? name, kind }) as never;

/** 32-bit number, sent unsigned, read as signed: -1 travels as 4294967295. */
export const int = declare<number>("int");
/** 64-bit number, sent unsigned, read as signed; beyond 2^53 precision is lost, which no file offset reaches. */
export const long = declare<number>("long");
export const string = declare<string>("string");
/** Bytes, sent as base64. */
export const data = declare<Uint8Array>("data");
/** An attribute that must have this very value, such as the greeting's `protocol` or a request's name. */
export const constant = (name: string, value: string): Field<never, never> => ({
  name,
  head: `${name}\0`,
  key: name as never,
  kind: "constant",
  constant: value,
});
/** A group of arbitrary attributes. */
export const hash = <const K extends string>(name: K): Field<K, ReadonlyMap<string, string>> => ({
  name,
  head: `${name}\0`,
  key: name,
  kind: "hash",
});

type AnyField = Field<string, unknown>;

export interface Message<T> {
  readonly label: string;
  readonly fields: ReadonlyArray<AnyField>;
  readonly type?: T;
}

type Union<F> = F extends Field<infer K, infer V> ? { [P in K]: V } : never;
type Intersect<U> = (U extends unknown ? (value: U) => void : never) extends (value: infer I) => void
  ? I
  : never;
export type Flatten<T> = { readonly [P in keyof T]: T[P] };
type Fields<F extends ReadonlyArray<unknown>> = Flatten<
  Intersect<Union<Exclude<F[number], Field<never, never>>>>
>;

/** Declares a message: its fields in the order of the wire. */
export const message = <const F extends ReadonlyArray<Field<string, unknown>>>(
  label: string,
  fields: F,
): Message<Fields<F>> => ({
  label,
  fields,
});

/** What stands before each value in "attr0". */
export const headsOf = (declared: Message<unknown>): string[] => declared.fields.map(({ head }) => head);

/** The typed value of a declared message. */
export type ValueOf<M> = M extends Message<infer T> ? T : never;

// --- encoding --------------------------------------------------------------------------------------

/** The bytes of a message (a byte string), with its terminator unless `open`. */
export function encode<T>(
  declared: Message<T>,
  value: T,
  encoding: Encoding = "attr0",
  open = false,
): string {
  const plain = encoding === "plain";
  const after = plain ? "\n" : "\0";
  const values = value as Readonly<Record<string, unknown>>;
  let out = "";
  for (const field of declared.fields) {
    if (field.kind === "hash") {
      out += encodeHash(values[field.key] as ReadonlyMap<string, string>, plain ? "=" : "\0", after);
      continue;
    }
    const head = plain ? `${field.name}=` : field.head;
    out += `${head}${fieldText(field, values[field.key], after)}${after}`;
  }
  return open ? out : out + after;
}

function encodeHash(entries: ReadonlyMap<string, string>, between: string, after: string): string {
  let out = after === "\n" ? "{\0\n" : "{\0";
  for (const [name, text] of entries) out += name + between + text + after;
  return `${out}}\0${after === "\n" ? "\n" : ""}`;
}

/** The value as text, up to the first byte that would end it: for every peer it is a C string. */
function fieldText(field: AnyField, value: unknown, end: string): string {
  switch (field.kind) {
    case "constant":
      return field.constant ?? "";
    case "int":
      return String((value as number) >>> 0);
    case "long":
      return (value as number) < 0
        ? BigInt.asUintN(64, BigInt(value as number)).toString()
        : String(value as number);
    case "data": {
      const bytes = value as Uint8Array;
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
    }
    default: {
      const text = value as string;
      const at = text.indexOf(end);
      return at < 0 ? text : text.slice(0, at);
    }
  }
}

// --- decoding --------------------------------------------------------------------------------------

export type DecodeResult<T> =
  | { readonly kind: "value"; readonly value: T; readonly length: number }
  /** More input is needed. */
  | { readonly kind: "more" }
  | { readonly kind: "bad"; readonly text: string };

export interface DecodeOptions {
  readonly encoding?: Encoding;
  /** The list goes on after the last declared field: its terminator is not read. */
  readonly open?: boolean;
  /** Attributes that were not asked for are skipped (receivers that are not strict about extra ones). */
  readonly skipExtra?: boolean;
  /** Name of the stream in error texts. */
  readonly stream?: string;
}

const LIST_END = "(list terminator)";

/** Decodes one list at the start of the input. The texts of bad input are Postfix's. */
export function decode<T>(declared: Message<T>, input: Buffer, options: DecodeOptions = {}): DecodeResult<T> {
  const plain = options.encoding === "plain";
  const stream = options.stream ?? "stream";
  const value: Record<string, unknown> = Object.create(null);
  const bad = (text: string): DecodeResult<T> => ({ kind: "bad", text });
  let at = 0;
  let wanted = 0;

  for (;;) {
    const field = declared.fields[wanted];
    if (field === undefined && options.open === true) return { kind: "value", value: value as T, length: at };
    if (field?.kind === "hash") {
      const group = decodeHash(input, at, plain);
      if (typeof group === "string")
        return group === "more" ? { kind: "more" } : bad(`${group} from ${stream}`);
      value[field.key] = group.entries;
      at = group.end;
      wanted++;
      if (group.terminated)
        return wanted === declared.fields.length
          ? { kind: "value", value: value as T, length: at }
          : bad(missing(declared, wanted, stream));
      continue;
    }
    // the common case, for which no text of the name has to be made
    const start = plain || field === undefined ? 0 : valueStart(input, at, field.name);
    if (field !== undefined && start > 0) {
      const end = input.indexOf(NUL, start);
      if (end < 0) return { kind: "more" };
      const problem = store(field, input.toString("latin1", start, end), value, stream);
      if (problem !== undefined) return bad(problem);
      at = end + 1;
      wanted++;
      continue;
    }
    const name = readName(input, at, plain);
    if (name === undefined) return { kind: "more" };
    if (name.text === "" && name.hasValue !== true) {
      if (field !== undefined) return bad(missing(declared, wanted, stream));
      return { kind: "value", value: value as T, length: name.end };
    }
    if (field === undefined || name.text !== field.name) {
      if (options.skipExtra !== true)
        return bad(
          `unexpected attribute ${name.text} from ${stream} (expecting: ${field?.name ?? LIST_END})`,
        );
      const skipped = readValue(input, name, plain);
      if (skipped === undefined) return { kind: "more" };
      at = skipped.end;
      continue;
    }
    if (plain && name.hasValue !== true)
      return bad(`missing value for string attribute ${name.text} from ${stream}`);
    const text = readValue(input, name, plain);
    if (text === undefined) return { kind: "more" };
    const problem = store(field, text.text, value, stream);
    if (problem !== undefined) return bad(problem);
    at = text.end;
    wanted++;
  }
}

const missing = (declared: Message<unknown>, wanted: number, stream: string): string =>
  `missing attribute ${declared.fields[wanted]?.name} in input from ${stream}`;

interface Token {
  readonly text: string;
  /** Offset after the name (attr0: after its NUL; plain: after `=` or the newline). */
  readonly end: number;
  readonly hasValue?: boolean;
}

const NUL = 0;
const NEWLINE = 0x0a;
const EQUALS = 0x3d;

/** Where the value begins, when this name stands here; else 0. */
function valueStart(input: Buffer, at: number, name: string): number {
  const end = at + name.length;
  if (end >= input.length || input[end] !== NUL) return 0;
  for (let index = 0; index < name.length; index++)
    if (input[at + index] !== name.charCodeAt(index)) return 0;
  return end + 1;
}

function readName(input: Buffer, at: number, plain: boolean): Token | undefined {
  if (!plain) {
    const end = input.indexOf(NUL, at);
    if (end < 0) return undefined;
    return { text: input.toString("latin1", at, end), end: end + 1, hasValue: end > at };
  }
  const end = input.indexOf(NEWLINE, at);
  if (end < 0) return undefined;
  const equals = input.subarray(at, end).indexOf(EQUALS);
  if (equals < 0) return { text: input.toString("latin1", at, end), end: end + 1, hasValue: false };
  return { text: input.toString("latin1", at, at + equals), end: at + equals + 1, hasValue: true };
}

function readValue(input: Buffer, name: Token, plain: boolean): Token | undefined {
  if (plain && name.hasValue !== true) return { text: "", end: name.end };
  const end = input.indexOf(plain ? NEWLINE : NUL, name.end);
  return end < 0 ? undefined : { text: input.toString("latin1", name.end, end), end: end + 1 };
}

function store(
  field: AnyField,
  text: string,
  value: Record<string, unknown>,
  stream: string,
): string | undefined {
  switch (field.kind) {
    case "constant":
      return text === field.constant
        ? undefined
        : `unexpected ${field.name} ${text} from ${stream} (expected: ${field.constant})`;
    case "int":
    case "long": {
      const number = scanNumber(text, field.kind);
      if (number === undefined)
        return `malformed numerical data from ${stream} while reading input attribute value: ${text.slice(0, 100)}`;
      value[field.key] = number;
      return undefined;
    }
    case "data": {
      const bytes = decodeBase64(text);
      if (bytes === undefined)
        return `malformed base64 data from ${stream} while reading input attribute value: ${text.slice(0, 100)}`;
      value[field.key] = bytes;
      return undefined;
    }
    default:
      value[field.key] = text;
      return undefined;
  }
}

/** C sscanf("%u%c") with nothing after: white space, sign, digits; wraps to the width; the result is signed. */
export function scanNumber(text: string, kind: "int" | "long"): number | undefined {
  let at = 0;
  while (at < text.length && isSpaceCode(text.charCodeAt(at))) at++;
  const sign = text.charAt(at);
  const digits = sign === "-" || sign === "+" ? at + 1 : at;
  if (digits >= text.length || text.length - digits > 40) return undefined;
  for (let i = digits; i < text.length; i++) if (!isDigitCode(text.charCodeAt(i))) return undefined;
  if (text.length - digits <= 9) {
    const small = Number(text.slice(digits));
    return sign === "-" ? 0 - small : small;
  }
  const value = BigInt(text.slice(digits)) * (sign === "-" ? -1n : 1n);
  return Number(BigInt.asIntN(kind === "int" ? 32 : 64, value));
}

const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;
function decodeBase64(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0 || !BASE64.test(text)) return undefined;
  return Buffer.from(text, "base64");
}

/** A group in braces, or all attributes up to the list's end (which then is consumed). */
function decodeHash(
  input: Buffer,
  start: number,
  plain: boolean,
): { entries: Map<string, string>; end: number; terminated: boolean } | string {
  const entries = new Map<string, string>();
  let at = start;
  const first = readName(input, at, plain);
  if (first === undefined) return "more";
  const isBrace = (token: Token, brace: string): boolean =>
    token.text === brace || token.text === `${brace}\0`;
  const braced = isBrace(first, "{");
  if (braced) at = first.end;
  for (;;) {
    const name = readName(input, at, plain);
    if (name === undefined) return "more";
    if (braced && isBrace(name, "}")) return { entries, end: name.end, terminated: false };
    if (name.text === "" && name.hasValue !== true)
      return braced ? "unterminated group" : { entries, end: name.end, terminated: true };
    const text = readValue(input, name, plain);
    if (text === undefined) return "more";
    if (!entries.has(name.text)) {
      if (entries.size >= HASH_LIMIT) return `attribute count exceeds limit ${HASH_LIMIT}`;
      entries.set(name.text, text.text);
    }
    at = text.end;
  }
}

// --- on a channel ----------------------------------------------------------------------------------

/** Queues a message on a channel; the caller flushes. */
export function send<T>(
  channel: Channel,
  declared: Message<T>,
  value: T,
  encoding: Encoding = "attr0",
): void {
  channel.write(encode(declared, value, encoding));
}

export type Received<T> =
  | { readonly kind: "value"; readonly value: T }
  /** End of file before the first byte. */
  | { readonly kind: "end" }
  /** Malformed, cut off or late; the reason was logged as a warning. */
  | { readonly kind: "bad"; readonly late: boolean };

/** What comes next in a list that has not come to its end. */
function partAt(input: Buffer, plain: boolean): { readonly part: "name" | "value"; readonly at: number } {
  for (let at = 0; ; ) {
    const name = readName(input, at, plain);
    if (name === undefined) return { part: plain && input.indexOf(EQUALS, at) >= 0 ? "value" : "name", at };
    const isMark = !plain && (name.text === "{" || name.text === "}");
    const value = isMark || name.hasValue !== true ? { end: name.end } : readValue(input, name, plain);
    if (value === undefined) return { part: "value", at: name.end };
    at = value.end;
  }
}

/** What a list that ends too early was about to say. */
function cutOff(input: Buffer, plain: boolean, stream: string): string {
  const { part, at } = partAt(input, plain);
  return `${at < input.length ? "unexpected end-of-input from" : "premature end-of-input on"} ${stream} while reading input attribute ${part}`;
}

/**
 * Reads one message, at once when it has come already. Bad input is logged in Postfix's words and yields "bad"; the connection is then useless.
 */
export const receive = <T>(
  channel: Channel,
  declared: Message<T>,
  options: DecodeOptions = {},
): Soon<Received<T>> =>
  when(receiveAhead(channel, declared, options), (received): Received<T> => {
    if (received.kind === "value") channel.consume(received.length);
    return received;
  });

/** The beginning of a message, which stays to be read: the name of a request, by which the whole message is declared. */
export const receiveHead = <T>(channel: Channel, declared: Message<T>): Soon<Received<T>> =>
  receiveAhead(channel, declared, { open: true });

type Ahead<T> =
  | { readonly kind: "value"; readonly value: T; readonly length: number }
  | Exclude<Received<T>, { kind: "value" }>;

function receiveAhead<T>(channel: Channel, declared: Message<T>, options: DecodeOptions): Soon<Ahead<T>> {
  if (channel.buffered > 0) {
    const result = decode(declared, channel.peek(), { ...options, stream: channel.name });
    if (result.kind === "value") return result;
  }
  return awaitAhead(channel, declared, options);
}

async function awaitAhead<T>(
  channel: Channel,
  declared: Message<T>,
  options: DecodeOptions,
): Promise<Ahead<T>> {
  const bad = (text: string, late = false): Ahead<T> => {
    warning(text);
    return { kind: "bad", late };
  };
  let counted = 0;
  try {
    for (;;) {
      if (channel.buffered > 0 || declared.fields.length === 0) {
        const result = decode(declared, channel.peek(), { ...options, stream: channel.name });
        if (result.kind === "value") return result;
        if (result.kind === "bad") return bad(result.text);
        const held = channel.buffered > LONG_LIST ? channel.buffered : 0;
        unfinished += held - counted;
        counted = held;
        if (held > MESSAGE_LIMIT || (held > 0 && unfinished > UNFINISHED_LIMIT))
          return bad(`attribute list from ${channel.name} is too long`);
      }
      if (!(await channel.more()))
        return channel.buffered === 0
          ? { kind: "end" }
          : bad(cutOff(channel.peek(), options.encoding === "plain", channel.name));
    }
  } catch (error) {
    if (error instanceof ChannelTimeout)
      return bad(
        `timeout on ${channel.name} while reading input attribute ${partAt(channel.peek(), options.encoding === "plain").part}`,
        true,
      );
    if (error instanceof TypeError || error instanceof RangeError) throw error;
    return bad(`read ${channel.name}: ${errorText(error)}`);
  } finally {
    unfinished -= counted;
  }
}
