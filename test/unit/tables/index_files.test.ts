import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { gunzipSync } from "node:zlib";
import tap, { type Test } from "tap";
import { configurationFromText, installConfiguration } from "../../../lib/config/configuration.ts";
import { MappedFile } from "../../../lib/sys/mapped_file.ts";
import { BtreeReader } from "../../../lib/tables/formats/bdb_btree.ts";
import { HashReader } from "../../../lib/tables/formats/bdb_hash.ts";
import { BdbFile } from "../../../lib/tables/formats/bdb_pages.ts";
import { buildCdb, CdbReader } from "../../../lib/tables/formats/cdb.ts";
import {
  allRecords,
  compareKeys,
  IndexError,
  type IndexReader,
  type IndexRecord,
  viewOf,
} from "../../../lib/tables/formats/index.ts";
import { LmdbReader } from "../../../lib/tables/formats/lmdb_reader.ts";
import { LmdbTransaction } from "../../../lib/tables/formats/lmdb_writer.ts";
import { Records } from "../../../lib/tables/formats/records.ts";
import { buildPages, inKeyOrder } from "../../../lib/tables/types/bdb_file.ts";

installConfiguration(configurationFromText("compatibility_level = 3.11\n"));
const directory = mkdtempSync(`${tmpdir()}/tables-`);
tap.setTimeout(120_000);
tap.teardown(() => rmSync(directory, { recursive: true }));

interface Sample {
  table: "small" | "medium";
  type: "lmdb" | "hash" | "btree";
  size: number;
  file_gzip_base64: string;
}
const vectors = JSON.parse(readFileSync("test/vectors/tables/index_files.json", "utf8")) as {
  files: Sample[];
};

const expected: Record<string, Map<string, string>> = {
  small: new Map([
    ["kay", "value1"],
    ["bee", "value2"],
    ["zed", "z"],
  ]),
  medium: new Map([
    ...Array.from(
      { length: 300 },
      (_, i) => [`user${i}@example.com`, `dest${i}@host${i % 7}.example.net`] as const,
    ),
    ["large", "x".repeat(9000)] as const,
  ]),
};

const text = (bytes: Buffer): string => bytes.toString("latin1").replace(/\0$/, "");
const openReader = (type: string, fd: number): IndexReader => {
  if (type === "lmdb") return new LmdbReader(new MappedFile(fd));
  if (type === "cdb") return new CdbReader(new MappedFile(fd));
  const file = new BdbFile(new MappedFile(fd));
  file.refresh();
  return type === "hash" ? new HashReader(file) : new BtreeReader(file);
};

function checkReader(t: Test, reader: IndexReader, records: Map<string, string>): void {
  const listed = new Map([...allRecords(reader, 1e6)].map(({ key, value }) => [text(key), text(value)]));
  t.same(new Map([...listed].sort()), new Map([...records].sort()));
  for (const [key, value] of records) {
    const extent = reader.get(Buffer.from(`${key}\0`, "latin1"));
    const got = extent === undefined ? undefined : viewOf(extent);
    if (got === undefined || text(got) !== value) t.fail(`get ${key}: ${got}`);
  }
  t.equal(reader.get(Buffer.from("nosuchkey\0")), undefined);
  t.equal(reader.get(Buffer.from("zzzzz")), undefined);
  t.equal(reader.get(Buffer.from("")), undefined);
}

for (const sample of vectors.files) {
  tap.test(`reads the reference's ${sample.type} file (${sample.table})`, async (t) => {
    const path = `${directory}/${sample.table}.${sample.type}`;
    writeFileSync(path, gunzipSync(Buffer.from(sample.file_gzip_base64, "base64")));
    const fd = openSync(path, "r");
    checkReader(t, openReader(sample.type, fd), expected[sample.table] ?? new Map());
    closeSync(fd);
  });

  tap.test(`survives damage to a ${sample.type} file (${sample.table})`, async (t) => {
    const whole = gunzipSync(Buffer.from(sample.file_gzip_base64, "base64"));
    const path = `${directory}/damaged`;
    let seed = 7;
    const random = (limit: number): number => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return (seed >>> 8) % limit;
    };
    let errors = 0;
    for (let round = 0; round < 120; round++) {
      const bytes = Buffer.from(round % 5 === 0 ? whole.subarray(0, random(whole.length)) : whole);
      for (let i = 0; bytes.length > 0 && i < 40; i++)
        bytes[random(Math.min(bytes.length, 9000))] = random(256);
      writeFileSync(path, bytes);
      const fd = openSync(path, "r");
      try {
        const reader = openReader(sample.type, fd);
        reader.get(Buffer.from("bee\0"));
        reader.get(Buffer.from("large\0"));
        for (const record of allRecords(reader, 5000))
          if (record.key.length > whole.length) t.fail("too long");
      } catch (failure) {
        errors++;
        if (!(failure instanceof IndexError))
          t.fail(`round ${round}: ${failure instanceof Error ? failure.stack : failure}`);
      }
      closeSync(fd);
    }
    t.ok(errors > 0);
  });
}

const asRecords = (entries: Map<string, string>): IndexRecord[] =>
  [...entries]
    .map(([key, value]) => ({
      key: Buffer.from(`${key}\0`, "latin1"),
      value: Buffer.from(`${value}\0`, "latin1"),
    }))
    .sort((a, b) => compareKeys(a.key, b.key));

const large = new Map([
  ...Array.from({ length: 6000 }, (_, i) => [`user${i * 7919}@example.com`, `value ${i}`] as const),
  ["big1", "y".repeat(5000)] as const,
  ["big2", "z".repeat(100000)] as const,
  ["k".repeat(400), "long key"] as const,
]);

for (const [name, entries] of [
  ...Object.entries(expected),
  ["large", large],
  ["empty", new Map<string, string>()],
] as const) {
  for (const kind of ["hash", "btree"] as const)
    tap.test(`writes and reads ${kind} (${name})`, async (t) => {
      const records = new Map(asRecords(entries).map(({ key, value }) => [key.toString("latin1"), value]));
      const path = `${directory}/out.${kind}`;
      writeFileSync(path, Buffer.concat(buildPages(kind, inKeyOrder(records))));
      const fd = openSync(path, "r");
      checkReader(t, openReader(kind, fd), entries);
      closeSync(fd);
    });
  tap.test(`writes and reads cdb (${name})`, async (t) => {
    const path = `${directory}/out.cdb`;
    writeFileSync(path, buildCdb(Records.from(asRecords(entries))));
    const fd = openSync(path, "r");
    checkReader(t, openReader("cdb", fd), entries);
    closeSync(fd);
  });
  tap.test(`writes and reads lmdb (${name})`, async (t) => {
    const fd = openSync(`${directory}/out-${name}.lmdb`, "wx+");
    const transaction = new LmdbTransaction(new MappedFile(fd), 1 << 20);
    transaction.bulkLoad(Records.from(asRecords(entries)));
    await transaction.commit();
    checkReader(t, openReader("lmdb", fd), entries);
    closeSync(fd);
  });
}

tap.test("lmdb: random changes keep the tree whole and the file small", async (t) => {
  const path = `${directory}/random.lmdb`;
  const fd = openSync(path, "wx+");
  const model = new Map<string, string>();
  let seed = 99;
  const random = (limit: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 8) % limit;
  };
  for (let round = 0; round < 160; round++) {
    const transaction = new LmdbTransaction(new MappedFile(fd), 1 << 20);
    for (let i = 0; i < 25; i++) {
      const key = `key ${random(3000)}${"p".repeat(random(200))}`;
      const bytes = Buffer.from(`${key}\0`);
      // the second half removes more than it adds
      if (random(100) < (round < 80 ? 70 : 25)) {
        const value = `v${random(1000)}${"x".repeat(random(30) === 0 ? random(9000) : random(60))}`;
        if (transaction.put(bytes, Buffer.from(`${value}\0`), false) === model.has(key)) t.fail(`put ${key}`);
        transaction.put(bytes, Buffer.from(`${value}\0`), true);
        model.set(key, value);
      } else {
        const victim =
          model.size > 0 && random(2) === 0 ? ([...model.keys()][random(model.size)] ?? key) : key;
        if (transaction.remove(Buffer.from(`${victim}\0`)) !== model.delete(victim))
          t.fail(`remove ${victim}`);
      }
    }
    await transaction.commit();
    if (round % 40 === 39) checkReader(t, new LmdbReader(new MappedFile(fd)), model);
  }
  const transaction = new LmdbTransaction(new MappedFile(fd), 1 << 20);
  for (const key of model.keys()) transaction.remove(Buffer.from(`${key}\0`));
  await transaction.commit();
  checkReader(t, new LmdbReader(new MappedFile(fd)), new Map());
  t.ok(statSync(path).size < 6e6, `file has ${statSync(path).size} bytes`);
  closeSync(fd);
});

tap.test("lmdb: a reader that stays open sees every commit", async (t) => {
  const fd = openSync(`${directory}/lasting.lmdb`, "wx+");
  const reader = new LmdbReader(new MappedFile(fd));
  const key = Buffer.from("key");
  for (let commits = 1; commits <= 8; commits++)
    for (let round = 0; round < 4; round++) {
      // pages are used again: one that the reader has kept has another content, with the same number
      for (let count = 1; count <= commits; count++) {
        const transaction = new LmdbTransaction(new MappedFile(fd), 1 << 20);
        transaction.put(key, Buffer.from(`${commits} ${round} ${count}`), true);
        await transaction.commit();
      }
      const extent = reader.get(key);
      t.equal(extent && viewOf(extent).toString(), `${commits} ${round} ${commits}`);
    }
  closeSync(fd);
});
