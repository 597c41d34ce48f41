/** D. J. Bernstein's constant database. */
import type { MappedFile } from "../../sys/mapped_file.ts";
import { IndexError, type IndexReader, type IndexRecord } from "./index.ts";

const HEADER = 2048;
const TABLES = 256;
const LIMIT = 0xffffffff;

const invalid = (): IndexError => new IndexError("Protocol error");
function fail(): never {
  throw invalid();
}

export function cdbHash(key: Uint8Array): number {
  let hash = 5381;
  for (const byte of key) hash = ((((hash << 5) >>> 0) + hash) ^ byte) >>> 0;
  return hash;
}

export class CdbReader implements IndexReader {
  private readonly header = Buffer.alloc(HEADER);
  private readonly size: number;

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

  get(key: Buffer): Buffer | undefined {
    const hash = cdbHash(key);
    const table = hash & 0xff;
    const position = this.header.readUInt32LE(8 * table);
    const slots = this.header.readUInt32LE(8 * table + 4);
    if (slots === 0) return undefined;
    if (position + slots * 8 > this.size) throw invalid();
    let slot = (hash >>> 8) % slots;
    for (let i = 0; i < slots; i++) {
      const entry = position + 8 * slot;
      const record = this.word(entry + 4);
      if (record === 0) return undefined;
      if (this.word(entry) === hash) {
        const found = this.recordAt(record);
        if (found.key.equals(key)) return found.value;
      }
      slot = slot + 1 === slots ? 0 : slot + 1;
    }
    return undefined;
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

/** A constant database with these records, in this order. */
export function buildCdb(records: ReadonlyArray<IndexRecord>): Buffer[] {
  const header = Buffer.alloc(HEADER);
  const parts: Buffer[] = [header];
  const tables: Array<Array<{ hash: number; position: number }>> = Array.from({ length: TABLES }, () => []);
  let position = HEADER;
  for (const { key, value } of records) {
    const lengths = Buffer.alloc(8);
    lengths.writeUInt32LE(key.length, 0);
    lengths.writeUInt32LE(value.length, 4);
    const hash = cdbHash(key);
    tables[hash & 0xff]?.push({ hash, position });
    parts.push(lengths, key, value);
    position += 8 + key.length + value.length;
    if (position > LIMIT) throw new IndexError("Cannot allocate memory");
  }
  for (const [number, entries] of tables.entries()) {
    const slots = entries.length * 2;
    header.writeUInt32LE(position, 8 * number);
    header.writeUInt32LE(slots, 8 * number + 4);
    const table = Buffer.alloc(8 * slots);
    for (const entry of entries) {
      let slot = (entry.hash >>> 8) % slots;
      while (table.readUInt32LE(8 * slot + 4) !== 0) slot = slot + 1 === slots ? 0 : slot + 1;
      table.writeUInt32LE(entry.hash, 8 * slot);
      table.writeUInt32LE(entry.position, 8 * slot + 4);
    }
    parts.push(table);
    position += table.length;
    if (position > LIMIT) throw new IndexError("Cannot allocate memory");
  }
  return parts;
}
