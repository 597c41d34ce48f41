/** D. J. Bernstein's constant database. */
import type { MappedFile } from "../../sys/mapped_file.ts";
import {
  compareExtent,
  type Extent,
  IndexError,
  type IndexReader,
  type IndexRecord,
  put32,
  u32,
} from "./index.ts";
import type { Records } from "./records.ts";

const HEADER = 2048;
const TABLES = 256;
/** Bytes of a slot: hash and position. */
const SLOT = 8;
const LIMIT = 0xffffffff;
const USUAL_RECORD = 1024;
const USUAL_VALUE = 56;
/** The lengths of key and value stand before them. */
const LENGTHS = 8;

const invalid = (): IndexError => new IndexError("Protocol error");
function fail(): never {
  throw invalid();
}

export function cdbHash(bytes: Uint8Array, start = 0, end = bytes.length): number {
  let hash = 5381;
  for (let at = start; at < end; at++) hash = (((hash << 5) + hash) ^ (bytes[at] as number)) | 0;
  return hash >>> 0;
}

export class CdbReader implements IndexReader {
  private readonly header = Buffer.alloc(HEADER);
  private readonly size: number;
  private readonly slot = Buffer.alloc(SLOT);
  /** Holds the record that was looked at last, or its first bytes. */
  private record = Buffer.alloc(USUAL_RECORD);

  constructor(private readonly file: MappedFile) {
    if (!file.copy(this.header, 0)) throw invalid();
    this.size = file.size;
  }

  private read(position: number, length: number): Buffer {
    if (position + length > this.size) throw invalid();
    const bytes = Buffer.alloc(length);
    if (!this.file.copy(bytes, position)) throw invalid();
    return bytes;
  }

  private word(position: number): number {
    return this.file.word(position) ?? fail();
  }

  get(key: Buffer): Extent | undefined {
    const hash = cdbHash(key);
    const table = hash & 0xff;
    const position = this.header.readUInt32LE(8 * table);
    const slots = this.header.readUInt32LE(8 * table + 4);
    if (slots === 0) return undefined;
    if (position + slots * 8 > this.size) throw invalid();
    let slot = (hash >>> 8) % slots;
    for (let i = 0; i < slots; i++) {
      if (!this.file.copy(this.slot, position + SLOT * slot)) throw invalid();
      const record = u32(this.slot, 4);
      if (record === 0) return undefined;
      if (u32(this.slot, 0) === hash) {
        const found = this.valueAt(record, key);
        if (found !== undefined) return found;
      }
      slot = slot + 1 === slots ? 0 : slot + 1;
    }
    return undefined;
  }

  /** The value of the record at `position`, if it is that of `key`. */
  private valueAt(position: number, key: Buffer): Extent | undefined {
    // most records come whole with the first piece
    const piece = Math.min(this.record.length, LENGTHS + key.length + USUAL_VALUE, this.size - position);
    if (piece < LENGTHS || !this.file.copy(this.record, position, piece)) throw invalid();
    const start = LENGTHS + u32(this.record, 0);
    const end = start + u32(this.record, 4);
    if (position + end > this.size) throw invalid();
    if (start !== LENGTHS + key.length) return undefined;
    if (end > piece) {
      if (end > this.record.length) this.record = Buffer.alloc(end);
      if (!this.file.copy(this.record, position, end)) throw invalid();
    }
    return compareExtent(this.record, LENGTHS, start, key) === 0
      ? { bytes: this.record, start, end }
      : undefined;
  }

  private recordAt(position: number): IndexRecord & { readonly end: number } {
    const keyLength = this.word(position);
    const valueLength = this.word(position + 4);
    if (position + 8 + keyLength + valueLength > this.size) throw invalid();
    const bytes = this.read(position + 8, keyLength + valueLength);
    return {
      key: bytes.subarray(0, keyLength),
      value: bytes.subarray(keyLength),
      end: position + 8 + bytes.length,
    };
  }

  /** Start of the hash tables: the records stand before it. */
  private get end(): number {
    let end = this.size;
    for (let table = 0; table < TABLES; table++)
      if (this.header.readUInt32LE(8 * table + 4) !== 0)
        end = Math.min(end, this.header.readUInt32LE(8 * table));
    return end;
  }

  private cursor = { key: undefined as Buffer | undefined, next: HEADER };

  after(key: Buffer | undefined): IndexRecord | undefined {
    let position = HEADER;
    if (key !== undefined)
      position = this.cursor.key?.equals(key) === true ? this.cursor.next : this.behind(key);
    if (position + 8 > this.end) return undefined;
    const record = this.recordAt(position);
    this.cursor = { key: record.key, next: record.end };
    return record;
  }

  private behind(key: Buffer): number {
    for (let position = HEADER; position + 8 <= this.end; ) {
      const record = this.recordAt(position);
      if (record.key.equals(key)) return record.end;
      position = record.end;
    }
    return this.size;
  }
}

/** A constant database with these records, in their order. */
export function buildCdb(records: Records): Buffer {
  const count = records.length;
  const recordsEnd = HEADER + 8 * count + records.size;
  // each table has twice as many slots as records
  const size = recordsEnd + 2 * SLOT * count;
  if (size > LIMIT) throw new IndexError("Cannot allocate memory");
  const file = Buffer.alloc(size);
  const hashes = new Uint32Array(count);
  const positions = new Uint32Array(count);
  const members: number[][] = Array.from({ length: TABLES }, () => []);
  let position = HEADER;
  for (let index = 0; index < count; index++) {
    const start = records.start(index);
    const keyLength = records.keyLength(index);
    const valueLength = records.valueLength(index);
    put32(file, position, keyLength);
    put32(file, position + 4, valueLength);
    records.bytes.copy(file, position + 8, start, start + keyLength + valueLength);
    const hash = cdbHash(records.bytes, start, start + keyLength);
    hashes[index] = hash;
    positions[index] = position;
    members[hash & 0xff]?.push(index);
    position += 8 + keyLength + valueLength;
  }
  for (const [number, entries] of members.entries()) {
    const slots = entries.length * 2;
    put32(file, 8 * number, position);
    put32(file, 8 * number + 4, slots);
    for (const index of entries) {
      const hash = hashes[index] as number;
      let slot = (hash >>> 8) % slots;
      while (u32(file, position + SLOT * slot + 4) !== 0) slot = slot + 1 === slots ? 0 : slot + 1;
      put32(file, position + SLOT * slot, hash);
      put32(file, position + SLOT * slot + 4, positions[index] as number);
    }
    position += SLOT * slots;
  }
  return file;
}
