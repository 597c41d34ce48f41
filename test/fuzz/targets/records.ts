/** Queue file records: the reader of files and the decoder of streams end, agree, and stay within the input. */
import assert from "node:assert/strict";
import { closeSync, openSync, readdirSync, readFileSync, unlinkSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setLogSinks } from "../../../lib/log/log.ts";
import { RecordDecoder } from "../../../lib/queue/record_decoder.ts";
import { RecordReader } from "../../../lib/queue/record_reader.ts";
import { encodeRecord, REC_EOF, REC_ERROR, REC_MORE, Rec } from "../../../lib/queue/records.ts";
import { decodeSize } from "../../../lib/queue/size_record.ts";
import type { Target } from "../runner.ts";

const FILES = new URL("../../vectors/queue/files/", import.meta.url);
const seeds = readdirSync(FILES)
  .filter((name) => name.endsWith(".qf"))
  .map((name) => readFileSync(new URL(name, FILES)))
  .filter((file) => file.length < 32_768);
const TYPES = Object.values(Rec).filter((type) => type > 0 && type < 256);

let fd: number | undefined;

export const records: Target = {
  name: "records",
  seeds,
  words: [
    ...TYPES.map((type) => encodeRecord(type, "1").toString("latin1")),
    ...[0, 17, 94, 300].map((offset) =>
      encodeRecord(Rec.POINTER, String(offset).padStart(15)).toString("latin1"),
    ),
    "\x80\x80\x80\x80\x01",
    "\xff\xff\xff\x7f",
  ],
  check(input) {
    setLogSinks([]);
    if (fd === undefined) {
      const path = join(tmpdir(), `posthaste-fuzz-records-${process.pid}`);
      fd = openSync(path, "w+");
      unlinkSync(path);
    }
    writeSync(fd, input, 0, input.length, 0);
    // what is left of an earlier, longer input is part of this one
    const reader = new RecordReader(fd, "records");
    // ten thousand jumps back end a file; that many rounds are not waited for
    for (let count = 0; count < 100_000; count++) {
      const type = reader.read();
      if (type === REC_EOF || type === REC_ERROR) break;
      assert.ok(type >= 0 && type < 256);
      if (type === Rec.SIZE) decodeSize(reader.text);
    }
    assert.deepEqual(decodeAll(input, input.length), decodeAll(input, 7));
  },
};

process.on("exit", () => {
  if (fd !== undefined) closeSync(fd);
});

function decodeAll(input: Buffer, chunk: number): string[] {
  const decoder = new RecordDecoder("records", 100_000);
  const seen: string[] = [];
  for (let at = 0; ; at += chunk) {
    if (at < input.length) decoder.push(Buffer.from(input.subarray(at, at + chunk)));
    else decoder.end();
    for (let type = decoder.next(); ; type = decoder.next()) {
      if (type === REC_MORE) break;
      if (type === REC_EOF || type === REC_ERROR) return [...seen, String(type)];
      seen.push(`${type} ${decoder.text}`);
    }
    assert.ok(at < input.length, "it ends with its input");
  }
}
