/** DNS messages: queries are encoded with dns-packet, answers are read here, strictly within bounds and as bytes (RFC 1035). */
import { DNSSEC_OK, encode, RECURSION_DESIRED } from "dns-packet";
import { formatInet } from "../config/inet.ts";
import { lowerAscii } from "../sys/bytes.ts";
import { type DnsRecord, RECORD_TYPES, type RecordType } from "./types.ts";

const CLASS_IN = 1;
const NAME_LIMIT = 255;
/** Accepted over UDP; small enough not to be fragmented (DNS flag day 2020). */
export const UDP_PAYLOAD = 1232;
/** Records of one answer that are looked at before it is cut. */
const ANSWER_LIMIT = 1000;

export interface QueryOptions {
  readonly edns: boolean;
  /** Sets the DO bit. */
  readonly dnssec: boolean;
}

export function encodeQuery(id: number, name: string, type: RecordType, options: QueryOptions): Buffer {
  return encode({
    type: "query",
    id,
    flags: RECURSION_DESIRED,
    questions: [{ name, type }],
    additionals: options.edns
      ? [
          {
            type: "OPT",
            name: ".",
            udpPayloadSize: UDP_PAYLOAD,
            flags: options.dnssec ? DNSSEC_OK : 0,
            options: [],
          },
        ]
      : [],
  });
}

export interface DnsMessage {
  readonly id: number;
  readonly rcode: number;
  readonly truncated: boolean;
  /** AD bit. */
  readonly authentic: boolean;
  readonly question: { readonly name: string; readonly type: number } | undefined;
  /** Records of class IN and a known type, of the answer section. */
  readonly answers: ReadonlyArray<DnsRecord>;
  /** From the SOA of the authority section (RFC 2308). */
  readonly negativeTtl: number | undefined;
  /** False when some record or name was not readable; what came before it is in `answers`. */
  readonly wellFormed: boolean;
}

class Malformed extends Error {}

/** A cursor over a message. */
class MessageReader {
  offset = 0;
  constructor(readonly bytes: Buffer) {}

  private need(count: number): void {
    if (this.offset + count > this.bytes.length) throw new Malformed("truncated");
  }
  u8(): number {
    this.need(1);
    return this.bytes.readUInt8(this.offset++);
  }
  u16(): number {
    this.need(2);
    this.offset += 2;
    return this.bytes.readUInt16BE(this.offset - 2);
  }
  u32(): number {
    this.need(4);
    this.offset += 4;
    return this.bytes.readUInt32BE(this.offset - 4);
  }
  take(count: number): Buffer {
    this.need(count);
    this.offset += count;
    return this.bytes.subarray(this.offset - count, this.offset);
  }

  /** A domain name in presentation form, `.` for the root. Pointers must point backwards, so that a name ends (RFC 1035 4.1.4). */
  name(): string {
    const labels: string[] = [];
    let at = this.offset;
    let lowest = at;
    let end: number | undefined;
    let length = 0;
    for (;;) {
      const size = this.bytes[at++];
      if (size === undefined) throw new Malformed("name");
      if (size === 0) break;
      if ((size & 0xc0) === 0xc0) {
        const low = this.bytes[at++];
        if (low === undefined) throw new Malformed("name");
        const target = ((size & 0x3f) << 8) | low;
        if (target >= lowest) throw new Malformed("pointer");
        end ??= at;
        at = target;
        lowest = target;
      } else if ((size & 0xc0) === 0) {
        length += size + 1;
        if (length > NAME_LIMIT - 1 || at + size > this.bytes.length) throw new Malformed("label");
        labels.push(presentLabel(this.bytes.toString("latin1", at, at + size)));
        at += size;
      } else throw new Malformed("label type");
    }
    this.offset = end ?? at;
    return labels.length === 0 ? "." : labels.join(".");
  }
}

const PLAIN_LABEL = /^[A-Za-z0-9_-]{1,63}$/;
/** A label in the presentation form of RFC 1035 5.1, so that no byte of it can pass for syntax. */
function presentLabel(label: string): string {
  if (PLAIN_LABEL.test(label)) return label;
  let text = "";
  for (const char of label) {
    const code = char.charCodeAt(0);
    if (char === "." || char === "\\") text += `\\${char}`;
    else if (code > 0x20 && code < 0x7f) text += char;
    else text += `\\${String(code).padStart(3, "0")}`;
  }
  return text;
}

const TYPE_NAMES: ReadonlyMap<number, RecordType> = new Map(
  Object.entries(RECORD_TYPES).map(([name, value]) => [value, name as RecordType]),
);

const hostOf = (name: string): string => (name === "." ? "" : name);

const UNPRINTABLE = /[^ -~]/g;

/** The data of one record; the reader stands at its beginning. */
function readData(
  reader: MessageReader,
  type: RecordType,
  size: number,
  name: string,
  ttl: number,
): DnsRecord | undefined {
  const end = reader.offset + size;
  const owner = { name, ttl };
  switch (type) {
    case "A":
    case "AAAA":
      if (size !== (type === "A" ? 4 : 16)) throw new Malformed("address");
      return { ...owner, type, address: formatInet(reader.take(size)) };
    case "MX": {
      const preference = reader.u16();
      return { ...owner, type, preference, host: hostOf(reader.name()) };
    }
    case "NS":
    case "CNAME":
    case "PTR":
      return { ...owner, type, host: reader.name() };
    case "SRV": {
      const priority = reader.u16();
      const weight = reader.u16();
      const port = reader.u16();
      return { ...owner, type, priority, weight, port, host: hostOf(reader.name()) };
    }
    case "TXT": {
      let text = "";
      while (reader.offset < end) {
        const length = reader.u8();
        if (reader.offset + length > end) throw new Malformed("text");
        text += reader.take(length).toString("latin1").replace(UNPRINTABLE, " ");
      }
      return { ...owner, type, text };
    }
    case "TLSA": {
      if (size < 3) throw new Malformed("tlsa");
      const usage = reader.u8();
      const selector = reader.u8();
      const matching = reader.u8();
      return { ...owner, type, usage, selector, matching, data: Uint8Array.from(reader.take(size - 3)) };
    }
    case "SOA":
      return undefined;
  }
}

/** Negative TTL of an SOA record: the smaller of its own TTL and its minimum field. */
function readNegativeTtl(reader: MessageReader, count: number): number | undefined {
  for (let i = 0; i < count; i++) {
    reader.name();
    const type = reader.u16();
    reader.u16();
    const ttl = reader.u32();
    const size = reader.u16();
    const end = reader.offset + size;
    if (type === RECORD_TYPES.SOA) {
      reader.name();
      reader.name();
      reader.take(16);
      return Math.min(ttl, reader.u32());
    }
    reader.take(end - reader.offset);
  }
  return undefined;
}

/** Reads a response; undefined when it is none at all (no header, or a query). */
export function decodeMessage(bytes: Buffer): DnsMessage | undefined {
  if (bytes.length < 12) return undefined;
  const flags = bytes.readUInt16BE(2);
  if ((flags & 0x8000) === 0) return undefined;
  const reader = new MessageReader(bytes);
  reader.offset = 12;
  const answers: DnsRecord[] = [];
  let question: DnsMessage["question"];
  let negativeTtl: number | undefined;
  let wellFormed = true;
  try {
    const questions = bytes.readUInt16BE(4);
    if (questions > 1) throw new Malformed("questions");
    if (questions === 1) {
      const name = reader.name();
      const type = reader.u16();
      if (reader.u16() !== CLASS_IN) throw new Malformed("class");
      question = { name, type };
    }
    const count = bytes.readUInt16BE(6);
    for (let i = 0; i < Math.min(count, ANSWER_LIMIT); i++) {
      const name = reader.name();
      const type = TYPE_NAMES.get(reader.u16());
      const recordClass = reader.u16();
      const ttl = reader.u32();
      const size = reader.u16();
      const end = reader.offset + size;
      if (end > bytes.length) throw new Malformed("data");
      if (type !== undefined && recordClass === CLASS_IN) {
        // RFC 2181 8: a TTL with the top bit set counts as zero.
        const record = readData(reader, type, size, name, ttl > 0x7fffffff ? 0 : ttl);
        if (type !== "SOA" && reader.offset !== end) throw new Malformed("data");
        if (record !== undefined) answers.push(record);
      }
      reader.offset = end;
    }
    if (count <= ANSWER_LIMIT) negativeTtl = readNegativeTtl(reader, bytes.readUInt16BE(8));
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    wellFormed = false;
  }
  return {
    id: bytes.readUInt16BE(0),
    rcode: flags & 0x0f,
    truncated: (flags & 0x0200) !== 0,
    authentic: (flags & 0x0020) !== 0,
    question,
    answers,
    negativeTtl,
    wellFormed,
  };
}

/** Domain names compare without regard to case or a final dot. */
export const sameName = (a: string, b: string): boolean =>
  lowerAscii(stripDot(a)) === lowerAscii(stripDot(b));
export const stripDot = (name: string): string =>
  name.length > 1 && name.endsWith(".") ? name.slice(0, -1) : name;
