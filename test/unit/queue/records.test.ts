import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { setLogSinks } from "../../../lib/log/log.ts";
import { fileSystem } from "../../../lib/queue/file_system.ts";
import { RecordDecoder } from "../../../lib/queue/record_decoder.ts";
import { RecordReader } from "../../../lib/queue/record_reader.ts";
import { RecordBuffer, RecordWriter } from "../../../lib/queue/record_writer.ts";
import {
  encodeRecord,
  paddingData,
  padNumber,
  putRecordHeader,
  REC_EOF,
  REC_ERROR,
  REC_MORE,
  Rec,
  RecordSets,
  recordTypeName,
} from "../../../lib/queue/records.ts";
import { decodeSize, EMPTY_SIZE, encodePreliminarySize, encodeSize } from "../../../lib/queue/size_record.ts";

const vectors = join(import.meta.dirname, "../../vectors/queue");
const files = join(vectors, "files");
const scratch = mkdtempSync(join(tmpdir(), "posthaste-records-"));
t.teardown(() => rmSync(scratch, { recursive: true }));

interface VectorRecord {
  offset: number;
  type: string;
  length: number;
  text?: string;
  text_repeat?: [string, number];
  base64?: string;
  next_offset?: number;
}
const dataOf = (record: VectorRecord): string =>
  record.text !== undefined
    ? Buffer.from(record.text, "utf8").toString("latin1")
    : record.text_repeat !== undefined
      ? record.text_repeat[0].repeat(record.text_repeat[1])
      : Buffer.from(record.base64 ?? "", "base64").toString("latin1");

const warnings = (run: () => void): string[] => {
  const lines: string[] = [];
  const before = setLogSinks([(event) => lines.push(event.text)]);
  run();
  setLogSinks(before);
  return lines;
};

t.test("every captured queue file decodes as recorded", async (t) => {
  for (const name of readdirSync(files).filter((file) => file.endsWith(".json"))) {
    const expected = JSON.parse(readFileSync(join(files, name), "utf8"));
    const path = join(files, expected.file);
    for (const bufferSize of [16384, 31]) {
      const fd = openSync(path, "r");
      const reader = new RecordReader(fd, path, { raw: true, bufferSize });
      const got: unknown[] = [];
      const wanted: unknown[] = [];
      for (const record of expected.records as VectorRecord[]) {
        wanted.push([record.offset, record.type, dataOf(record), record.next_offset]);
        const type = reader.read();
        const at = reader.offset;
        const text = reader.text;
        const dummy = type === Rec.POINTER && Number(text) === 0;
        if (type === Rec.POINTER) reader.follow();
        const next = type === Rec.POINTER && !dummy ? reader.position : undefined;
        got.push([at, String.fromCharCode(type), text, next]);
      }
      t.same(got, wanted, `${name} with buffers of ${bufferSize}`);
      closeSync(fd);
    }
    if (expected.size_fields !== undefined && expected.size_fields !== null) {
      const size = decodeSize(dataOf(expected.records[0]));
      if (size.kind === "size") {
        const { contentSize, dataOffset, recipientCount, hints, messageLength, sendOptions } = size.fields;
        const fields = [contentSize, dataOffset, recipientCount, hints, messageLength, sendOptions];
        const given = expected.size_fields as number[];
        given[4] = given[4] || (given[0] as number);
        t.same(fields, given, `${name} size`);
        t.equal(encodeSize({ ...size.fields, messageLength: given[4] as number }).length, 95);
      }
    }
  }
});

t.test("the transparent reader hides pointers and padding and ends after E", async (t) => {
  const expected = JSON.parse(readFileSync(join(files, "milter_everything.json"), "utf8"));
  const fd = openSync(join(files, "milter_everything.qf"), "r");
  const reader = new RecordReader(fd, "f");
  const got: string[] = [];
  for (let type = reader.read(); type > 0; type = reader.read())
    got.push(String.fromCharCode(type) + reader.text);
  const wanted = (expected.records as VectorRecord[])
    .filter(({ type }) => type !== "p" && type !== "w")
    .map((record) => record.type + dataOf(record));
  t.same(got, wanted);
  t.equal(reader.read(), REC_EOF);
  closeSync(fd);
});

t.test("encoding is the inverse of decoding", async (t) => {
  for (const name of readdirSync(files).filter((file) => file.endsWith(".qf"))) {
    const bytes = readFileSync(join(files, name));
    if (name.startsWith("milter_") && name !== "milter_none.qf") continue;
    for (const chunkSize of [bytes.length, 1, 100]) {
      const decoder = new RecordDecoder("stream");
      const buffer = new RecordBuffer(16);
      const out = join(scratch, "out");
      const fd = openSync(out, "w+");
      const writer = new RecordWriter(fileSystem, fd);
      for (let at = 0; at < bytes.length; at += chunkSize) {
        decoder.push(bytes.subarray(at, at + chunkSize));
        for (let type = decoder.next(); type !== REC_MORE; type = decoder.next()) {
          buffer.put(type, decoder.data);
          writer.put(type, decoder.text);
        }
      }
      decoder.end();
      t.equal(decoder.next(), REC_EOF);
      writer.flush();
      closeSync(fd);
      t.ok(buffer.take().equals(bytes), `${name} in chunks of ${chunkSize}`);
      t.ok(readFileSync(out).equals(bytes), `${name} through a file`);
    }
  }
});

t.test("JS-11 record lengths", async (t) => {
  for (const { length, hex } of JSON.parse(readFileSync(join(vectors, "record_length.json"), "utf8"))) {
    const header = Buffer.alloc(8);
    const end = putRecordHeader(header, 0, 0x4e, length);
    t.equal(header.subarray(1, end).toString("hex"), hex, String(length));
  }
  t.equal(encodeRecord(Rec.NORMAL, "x".repeat(128)).subarray(0, 3).toString("hex"), "4e8001");
  t.equal(paddingData(9), "      0");
  t.equal(paddingData(2), "0");
  t.equal(padNumber(-1), "             -1");
});

t.test("malformed input is an error with its reason", async (t) => {
  const read = (bytes: Buffer, maximum?: number): { types: number[]; lines: string[] } => {
    const path = join(scratch, "bad");
    writeFileSync(path, bytes);
    const types: number[] = [];
    const lines = warnings(() => {
      const fd = openSync(path, "r");
      const reader = new RecordReader(fd, "bad", maximum === undefined ? {} : { maximum });
      for (let type = reader.read(); ; type = reader.read()) {
        types.push(type);
        if (type < 0) break;
      }
      closeSync(fd);
    });
    return { types, lines };
  };
  t.same(read(Buffer.from("hello world")), {
    types: [REC_ERROR],
    lines: ["bad: unexpected EOF in data, record type 104 length 101"],
  });
  t.same(read(Buffer.from([0x4e, 0x80])), {
    types: [REC_ERROR],
    lines: ["bad: unexpected EOF reading length, record type 78"],
  });
  t.same(read(Buffer.from([0x4e, 0x80, 0x80, 0x80, 0x80, 0x01])), {
    types: [REC_ERROR],
    lines: ["bad: too many length bits, record type 78"],
  });
  t.same(read(encodeRecord(Rec.NORMAL, "x".repeat(11)), 10), {
    types: [REC_ERROR],
    lines: ["bad: illegal length 11, record type 78"],
  });
  t.same(read(encodeRecord(Rec.POINTER, "12x")), {
    types: [REC_ERROR],
    lines: ["bad: malformed pointer record value: 12x"],
  });
  t.same(read(Buffer.from([0x4e, 0x80, 0x00])), { types: [Rec.NORMAL, REC_EOF], lines: [] });
  const loop = Buffer.concat([encodeRecord(Rec.NORMAL), encodeRecord(Rec.POINTER, padNumber(2))]);
  t.same(read(loop), { types: [Rec.NORMAL, REC_ERROR], lines: ["bad: too many reverse jump records"] });
});

t.test("the decoder refuses the same malformed input", async (t) => {
  const lines = warnings(() => {
    const decoder = new RecordDecoder("stdin", 2048);
    decoder.push(Buffer.from([0x53, 32, 65]));
    t.equal(decoder.next(), REC_MORE);
    decoder.end();
    t.equal(decoder.next(), REC_ERROR);
    t.equal(decoder.next(), REC_ERROR);
  });
  t.same(lines, ["stdin: unexpected EOF in data, record type 83 length 32"]);
});

t.test("random input ends, without a throw", async (t) => {
  let seed = 12345;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 8) % below;
  };
  const path = join(scratch, "fuzz");
  const originals = readdirSync(files)
    .filter((file) => file.endsWith(".qf"))
    .map((file) => readFileSync(join(files, file)));
  warnings(() => {
    for (let round = 0; round < 400; round++) {
      const bytes = Buffer.from(originals[random(originals.length)] ?? []);
      for (let change = random(8) + 1; change > 0; change--) bytes[random(bytes.length)] = random(256);
      writeFileSync(path, bytes.subarray(0, random(4) === 0 ? random(bytes.length) : bytes.length));
      for (const raw of [false, true]) {
        const fd = openSync(path, "r");
        const reader = new RecordReader(fd, path, { raw, bufferSize: 64 + random(4096) });
        let count = 0;
        while (reader.read() >= 0 && count < 100_000) count++;
        closeSync(fd);
      }
      const decoder = new RecordDecoder("fuzz");
      for (let at = 0; at < bytes.length; ) {
        const step = random(300) + 1;
        decoder.push(bytes.subarray(at, at + step));
        at += step;
        while (decoder.next() >= 0);
      }
      decoder.end();
      while (decoder.next() >= 0);
      decodeSize(bytes.toString("latin1", 0, 200));
    }
  });
  t.pass();
});

t.test("names, sets and the preliminary size record", async (t) => {
  t.equal(recordTypeName(Rec.FROM), "sender");
  t.equal(recordTypeName(0x4c), "content_filter");
  t.equal(recordTypeName(0x7e), "unknown_record_type");
  t.notOk(RecordSets.ENVELOPE.has(0));
  t.notOk(RecordSets.ENVELOPE.has(Rec.POINTER));
  t.notOk(RecordSets.ENVELOPE.has(REC_ERROR));
  t.ok(RecordSets.CONTENT.has(Rec.PADDING));
  t.equal(encodePreliminarySize(1).length, 95);
  t.same(decodeSize(encodePreliminarySize(1)), { kind: "invalid", why: "invalid size record" });
  t.same(decodeSize("5 7"), { kind: "ancient", contentSize: 5, dataOffset: 7 });
  t.same(decodeSize("5 7 1 64"), { kind: "invalid", why: "invalid flags in size record" });
});

t.test("the record that keeps the place of the size has its length, with zeros", async (t) => {
  const nothing = {
    contentSize: 0,
    dataOffset: 0,
    recipientCount: 0,
    hints: 0,
    messageLength: 0,
    sendOptions: 0,
  };
  t.equal(EMPTY_SIZE, encodeSize(nothing));
});

t.test("texts of all lengths and bytes are written as they are", async (t) => {
  const every = String.fromCharCode(...Array.from({ length: 256 }, (_, code) => code));
  const texts = ["", "x", ...[31, 32, 33, 127, 128, 200].map((length) => every.slice(256 - length)), every];
  const buffer = new RecordBuffer(16);
  for (const text of texts) buffer.put(Rec.ATTRIBUTE, text);
  t.same(buffer.take(), Buffer.concat(texts.map((text) => encodeRecord(Rec.ATTRIBUTE, text))));
});

t.test("a record as a C string ends at its own NUL, wherever the chunk has others", async (t) => {
  const texts = ["before", "w\0ith", "behind", "\0", "last\0"];
  const bytes = Buffer.concat(texts.map((text) => encodeRecord(Rec.ATTRIBUTE, text)));
  for (const cut of [bytes.length, 11, 3]) {
    const decoder = new RecordDecoder("test");
    const found: string[] = [];
    for (let at = 0; at < bytes.length; at += cut) {
      decoder.push(bytes.subarray(at, at + cut));
      while (decoder.next() === Rec.ATTRIBUTE) found.push(decoder.string);
      t.equal(decoder.data.length, 0, "nothing is there without a record");
    }
    t.same(found, ["before", "w", "behind", "", "last"], `in pieces of ${cut}`);
  }
});
