/** Berkeley DB files as a whole: all records of one, and writing one anew. */
import { ftruncateSync, writeSync } from "../../sys/fs.ts";
import { BtreeReader, buildBtree } from "../formats/bdb_btree.ts";
import { buildHash, HashReader } from "../formats/bdb_hash.ts";
import type { BdbFile, BdbKind } from "../formats/bdb_pages.ts";
import { allRecords, compareKeys, type IndexReader, type IndexRecord } from "../formats/index.ts";

/** A record takes at least this many bytes of a file. */
const LEAST_RECORD = 4;

/** The records of a Berkeley DB file in the order of its keys. */
export function loadRecords(kind: BdbKind, file: BdbFile): Map<string, Buffer> {
  const reader: IndexReader = kind === "hash" ? new HashReader(file) : new BtreeReader(file);
  const records = new Map<string, Buffer>();
  const { size } = file;
  if (size === 0) return records;
  for (const { key, value } of allRecords(reader, Math.floor(size / LEAST_RECORD)))
    records.set(key.toString("latin1"), value);
  return records;
}

export const recordsOf = (records: ReadonlyMap<string, Buffer>): IndexRecord[] =>
  Array.from(records, ([key, value]) => ({ key: Buffer.from(key, "latin1"), value }));
export const inKeyOrder = (records: ReadonlyMap<string, Buffer>): IndexRecord[] =>
  recordsOf(records).sort((a, b) => compareKeys(a.key, b.key));

/** The pages of a file with these records, which are in key order. */
export const buildPages = (kind: BdbKind, records: ReadonlyArray<IndexRecord>): Buffer[] =>
  kind === "hash" ? buildHash(records) : buildBtree(records);

/** Gives an open file a new content. */
export function rewrite(fd: number, pages: ReadonlyArray<Buffer>): void {
  const bytes = Buffer.concat(pages);
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done, done);
  ftruncateSync(fd, bytes.length);
}
