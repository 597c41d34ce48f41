/** Indexed files that are damaged: each lookup and each walk ends, with a record, without one, or with an IndexError. */
import assert from "node:assert/strict";
import { closeSync, ftruncateSync, openSync, unlinkSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MappedFile } from "../../../lib/sys/mapped_file.ts";
import { BtreeReader, buildBtree } from "../../../lib/tables/formats/bdb_btree.ts";
import { buildHash, HashReader } from "../../../lib/tables/formats/bdb_hash.ts";
import { BdbFile } from "../../../lib/tables/formats/bdb_pages.ts";
import { buildCdb, CdbReader } from "../../../lib/tables/formats/cdb.ts";
import { buildGdbm, gdbmGet, gdbmPairs } from "../../../lib/tables/formats/gdbm.ts";
import {
  allRecords,
  IndexError,
  type IndexReader,
  type IndexRecord,
} from "../../../lib/tables/formats/index.ts";
import { LmdbReader } from "../../../lib/tables/formats/lmdb_reader.ts";
import { Records } from "../../../lib/tables/formats/records.ts";
import { buildSdbm, type ReadPart, sdbmGet, sdbmPairs } from "../../../lib/tables/formats/sdbm.ts";
import type { Target } from "../runner.ts";
import { buildLmdb } from "./lmdb_seed.ts";

const records = (count: number, size: number): IndexRecord[] =>
  Array.from({ length: count }, (_none, index) => ({
    key: Buffer.from(`key${index}\0`),
    value: Buffer.from("v".repeat(1 + ((index * 37) % size))),
  }));
const SETS = [records(0, 1), records(3, 10), records(400, 60), records(4, 9000)];

type Open = (fd: number) => IndexReader;
const FORMATS: ReadonlyArray<Open> = [
  (fd) => new CdbReader(new MappedFile(fd)),
  (fd) => new HashReader(new BdbFile(new MappedFile(fd))),
  (fd) => new BtreeReader(new BdbFile(new MappedFile(fd))),
  (fd) => new LmdbReader(new MappedFile(fd)),
];
const WALK = 5000;

/** Formats of two files: one bit for each split page, and the pages; what is in the first file is at the start of the input. */
const PAIRED = [
  { get: sdbmGet, pairs: sdbmPairs },
  { get: gdbmGet, pairs: gdbmPairs },
] as const;
const DIRECTORY = 64;

const seeds: Buffer[] = [];
for (const set of SETS.slice(0, 3))
  for (const build of [buildSdbm, buildGdbm]) {
    const { directory, pages } = build(set);
    seeds.push(Buffer.concat([directory, Buffer.alloc(DIRECTORY)]).subarray(0, DIRECTORY), pages);
    seeds.push(
      Buffer.concat([Buffer.concat([directory, Buffer.alloc(DIRECTORY)]).subarray(0, DIRECTORY), pages]),
    );
  }
for (const set of SETS)
  seeds.push(
    buildCdb(Records.from(set)),
    Buffer.concat(buildHash(set)),
    Buffer.concat(buildBtree(set)),
    await buildLmdb(set),
  );

export const indexFiles: Target = {
  name: "index_files",
  seeds,
  words: [
    "\x00\x00\x00\x00",
    "\x01\x00\x00\x00",
    "\xff\xff\xff\xff",
    "\x61\x15\x06\x00",
    "\x62\x31\x05\x00",
    "\xde\xc0\xef\xbe",
    "\x05",
    "\x0d",
    "key1\0",
  ],
  check(input) {
    const path = join(tmpdir(), `posthaste-fuzz-index-${process.pid}`);
    const fd = openSync(path, "w+");
    try {
      unlinkSync(path);
      ftruncateSync(fd, 0);
      writeSync(fd, input, 0, input.length, 0);
      for (const open of FORMATS) tryReader(open, fd);
    } finally {
      closeSync(fd);
    }
    for (const { get, pairs } of PAIRED) tryPaired(get, pairs, input);
  },
};

function tryPaired(get: typeof sdbmGet, pairs: typeof sdbmPairs, input: Buffer): void {
  const pages = input.subarray(DIRECTORY);
  const part: ReadPart = (position, size) => {
    assert.ok(position >= 0 && size >= 0 && size < 0x20000000);
    return Buffer.from(pages.subarray(position, position + size));
  };
  for (const key of ["key1\0", "key399\0", "", "\xff"])
    expectable(() => get(input.subarray(0, DIRECTORY), part, Buffer.from(key, "latin1")));
  expectable(() => {
    let count = 0;
    for (const _pair of pairs(part, pages.length)) if (++count > WALK) break;
  });
}

function tryReader(open: Open, fd: number): void {
  try {
    const reader = open(fd);
    for (const key of ["key1\0", "key399\0", "", "\xff"])
      expectable(() => reader.get(Buffer.from(key, "latin1")));
    for (const _record of allRecords(reader, WALK));
  } catch (error) {
    if (!(error instanceof IndexError)) throw error;
  }
}

function expectable(work: () => unknown): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof IndexError)) throw error;
  }
}
