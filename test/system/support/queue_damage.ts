/** Files that somebody broke, put into the queue of a running instance. */
import { chmodSync, chownSync, mkdirSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Instance } from "../../../packaging/instance.ts";
import { bytes, damaged, randomBytes, randomSource } from "./hostile.ts";

export const record = (type: string, text: string): Buffer => {
  const { length } = text;
  const prefix = length < 128 ? [length] : [(length & 127) | 128, length >> 7];
  return Buffer.concat([bytes(type), Buffer.from(prefix), bytes(text)]);
};

/** A queue file as cleanup leaves it: the SIZE record is counted from the other records. */
export function queueFile(change: (records: [string, string][]) => void = () => undefined): Buffer {
  const records: [string, string][] = [
    ["T", "1795340000 1"],
    ["A", "rewrite_context=local"],
    ["S", "sender@example.org"],
    ["A", "dsn_orig_rcpt=rfc822;nobody@localhost"],
    ["O", ""],
    ["R", "nobody@localhost"],
    ["M", ""],
    ["N", "Received: by test"],
    ["N", "Subject: hand-made"],
    ["N", ""],
    ["N", "body"],
    ["X", ""],
    ["E", ""],
  ];
  change(records);
  const sizeLength = record("C", "x".repeat(95)).length;
  const encoded = records.map(([type, text]) => record(type, text));
  const start = records.findIndex(([type]) => type === "M");
  const end = records.findIndex(([type]) => type === "X");
  const lengthOf = (parts: ReadonlyArray<Buffer>): number =>
    parts.reduce((sum, part) => sum + part.length, 0);
  const offset = sizeLength + lengthOf(encoded.slice(0, start + 1));
  const size = start < 0 || end < 0 ? 0 : lengthOf(encoded.slice(start + 1, end));
  const recipients = records.filter(([type]) => type === "R").length;
  const fields = [size, offset, recipients, 0, size, 0].map((value) => String(value).padStart(15));
  return Buffer.concat([record("C", fields.join(" ")), ...encoded]);
}

/** Puts a file with a good mode and owner where a queue manager finds it. */
export function plant(instance: Instance, queue: string, id: string, content: Buffer, mode = 0o700): void {
  const folder =
    queue === "deferred" || queue === "defer"
      ? join(instance.queue, queue, id[0] ?? "")
      : join(instance.queue, queue);
  const { uid, gid } = statSync(join(instance.queue, "active"));
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (process.getuid?.() === 0) chownSync(folder, uid, gid);
  const path = join(folder, id);
  writeFileSync(path, content, { mode: 0o600 });
  if (process.getuid?.() === 0) chownSync(path, uid, gid);
  chmodSync(path, mode);
  const past = new Date(Date.now() - 60_000);
  utimesSync(path, past, past);
}

/** Damaged queue files, the same ones each time. */
export function damagedQueueFiles(count: number): Buffer[] {
  const random = randomSource(42);
  const good = queueFile();
  const without = (type: string): Buffer =>
    queueFile((records) =>
      records.splice(0, records.length, ...records.filter((entry) => entry[0] !== type)),
    );
  const added = (at: number, type: string, text: string): Buffer =>
    queueFile((records) => records.splice(at, 0, [type, text]));
  return [
    Buffer.alloc(0),
    bytes("garbage that is no record"),
    randomBytes(3000, random),
    Buffer.alloc(3000),
    good.subarray(0, 50),
    good.subarray(0, 150),
    good.subarray(0, good.length - 2),
    good.subarray(0, good.length - 4),
    without("T"),
    without("S"),
    without("R"),
    without("X"),
    without("E"),
    added(4, "A", "no equals sign"),
    added(4, "A", "log_client_name="),
    added(4, "p", "000000000000000"),
    added(4, "p", "000000000000007"),
    added(4, "p", "999999999999999"),
    added(4, "p", "nonsense"),
    added(4, "z", "unknown type"),
    added(6, "R", ""),
    added(6, "R", '\x01\x02\xff"<>@\0x'),
    added(6, "D", "done@localhost"),
    added(5, "A", "trace_flags=banana"),
    added(5, "A", "notify_flags=99999999999"),
    added(5, "W", "-5"),
    added(2, "S", "second@example.org"),
    added(1, "T", "banana"),
    bytes(good.toString("latin1").replace(/ {14}1 /, "             -7 ")),
    bytes(
      good
        .toString("latin1")
        .replace(/^C_ +\d+ +\d+/, (text) => text.replace(/\d+ *$/, (digits) => "9".repeat(digits.length))),
    ),
    ...Array.from({ length: count }, () => damaged(good, random)),
  ];
}
export const idOf = (index: number): string => `A${(0x10000 + index).toString(16).toUpperCase()}ABCDE`;
