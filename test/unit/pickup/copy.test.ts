/** What pickup passes to cleanup of a maildrop file. */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { copyMessage } from "../../../cmd/pickup/copy.ts";
import { configurationFromText, installConfiguration } from "../../../lib/config/configuration.ts";
import { setLogSinks } from "../../../lib/log/log.ts";
import type { QueueId } from "../../../lib/queue/queue_id.ts";
import { RecordDecoder } from "../../../lib/queue/record_decoder.ts";
import { RecordReader } from "../../../lib/queue/record_reader.ts";
import { encodeRecord, Rec } from "../../../lib/queue/records.ts";
import { Channel } from "../../../lib/sys/channel.ts";

process.env.TZ = "UTC";
const vectors = join(import.meta.dirname, "../../vectors/queue/files");
const scratch = mkdtempSync(join(tmpdir(), "posthaste-pickup-"));
t.teardown(() => rmSync(scratch, { recursive: true }));

interface Copied {
  ok: boolean;
  records: Array<[string, string]>;
  lines: string[];
}

async function copy(bytes: Buffer, options: { requeued?: boolean; config?: string } = {}): Promise<Copied> {
  installConfiguration(configurationFromText(`myhostname = mail.example.com\n${options.config ?? ""}`));
  const path = join(scratch, "file");
  writeFileSync(path, bytes);
  const channel = new Channel("public/cleanup socket");
  const decoder = new RecordDecoder("copy");
  channel.attach({
    write: (chunk) => {
      decoder.push(Buffer.from(chunk));
      return chunk.length;
    },
    end: () => undefined,
    terminate: () => undefined,
    pause: () => undefined,
    resume: () => undefined,
  });
  const lines: string[] = [];
  const before = setLogSinks([(event) => lines.push(event.text)]);
  const fd = openSync(path, "r");
  const requeued = options.requeued === true;
  const reader = new RecordReader(fd, "maildrop/OLD1", { raw: !requeued, maximum: 2048 });
  const ok = await copyMessage(reader, channel, "NEW1", {
    id: "OLD1" as QueueId,
    path,
    uid: 1000,
    requeued,
    size: bytes.length,
    modified: 1_795_334_996,
  });
  await channel.flush();
  closeSync(fd);
  setLogSinks(before);
  const records: Array<[string, string]> = [];
  for (let type = decoder.next(); type >= 0; type = decoder.next())
    records.push([String.fromCharCode(type), decoder.text]);
  return { ok, records, lines };
}

const record = (type: string, data = ""): Buffer => encodeRecord(type.charCodeAt(0), data);
const CONTENT: ReadonlyArray<[string, string]> = [
  ["M", ""],
  ["N", "Received: by mail.example.com (Postfix, from userid 1000)"],
  ["N", "\tid NEW1; Sun, 22 Nov 2026 08:09:56 +0000 (UTC)"],
];

t.test("a simple submission", async (t) => {
  const { ok, records, lines } = await copy(readFileSync(join(vectors, "maildrop_simple.qf")));
  t.ok(ok);
  t.same(records, [
    ["T", "1795334996 275865"],
    ["A", "rewrite_context=local"],
    ["F", "root"],
    ["S", "user@sink.example"],
    ["R", "bob@sink.example"],
    ["R", "carol"],
    ["R", "q p@sink.example"],
    ...CONTENT,
    ["N", "Subject: m1"],
    ["N", ""],
    ["N", "body"],
    ["X", ""],
    ["E", ""],
  ]);
  t.same(lines, ["NEW1: uid=1000 from=<user@sink.example>"]);
});

t.test("requeued mail loses what cleanup will add again, and its pointers", async (t) => {
  const { ok, records, lines } = await copy(readFileSync(join(vectors, "milter_everything.qf")), {
    requeued: true,
    config: "content_filter = scan:[127.0.0.1]:10025",
  });
  t.ok(ok);
  t.same(records[0], ["L", "scan:[127.0.0.1]:10025"]);
  t.notOk(records.some(([type]) => type === "p" || type === "w"));
  t.ok(records.some(([type, data]) => type === "S" && data === "other@sink.example"));
  t.notOk(records.some(([type, data]) => type === "A" && data.startsWith("message_id=")));
  t.same(lines, ["NEW1: uid=1000 from=<other@sink.example> orig_id=OLD1"]);
});

t.test("what is refused", async (t) => {
  const head = Buffer.concat([record("T", "1795334996 1"), record("S", "a"), record("R", "b")]);
  const body = Buffer.concat([record("M"), record("N", "x"), record("X")]);
  for (const [bytes, type] of [
    [Buffer.concat([head, record("p", "0"), body, record("E")]), 112],
    [Buffer.concat([head, record("f", "8"), body, record("E")]), 102],
    [Buffer.concat([head, Buffer.from([0, 0]), body, record("E")]), 0],
    [Buffer.concat([head, body]), -1],
    [Buffer.concat([head, body, record("S", "late"), record("E")]), 83],
    [Buffer.concat([head, record("M"), record("N", "x".repeat(2049)), record("X"), record("E")]), -2],
  ] as const) {
    const { ok, lines } = await copy(bytes);
    t.notOk(ok);
    t.equal(lines.at(-1), `uid=1000: unexpected or malformed record type ${type}`);
  }
  const none = await copy(Buffer.concat([record("T", "1 1"), record("R", "b"), body, record("E")]));
  t.notOk(none.ok);
  t.same(none.lines, ["NEW1: uid=1000: no envelope sender"]);
});

t.test("filters of a former run, old times, continuation lines", async (t) => {
  const { ok, records } = await copy(
    Buffer.concat([
      record("S", "a"),
      record("L", "old:filter"),
      record("R", "b"),
      record("M"),
      record("N", " begins with a blank"),
      record("X"),
      record(">", "redirect@x"),
      record("A", "notify_flags=1"),
      record("A", "sasl_username=x"),
      record("r", "x"),
      record("E"),
    ]),
  );
  t.ok(ok);
  t.same(records, [
    ["T", "1795334996"],
    ["S", "a"],
    ["R", "b"],
    ...CONTENT,
    ["N", ""],
    ["N", " begins with a blank"],
    ["X", ""],
    ["A", "notify_flags=1"],
    ["E", ""],
  ]);
  const future = await copy(
    Buffer.concat([
      record("T", "99999999999999999999"),
      record("S", ""),
      record("R", "b"),
      record("M"),
      record("X"),
      record("E"),
    ]),
  );
  t.same(future.records[0], [String.fromCharCode(Rec.TIME), "1795334996"]);
});
