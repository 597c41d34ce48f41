import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { jsonFormat } from "../../../cmd/postqueue/json.ts";
import { type Format, printListing } from "../../../cmd/postqueue/listing.ts";
import { mailqFormat } from "../../../cmd/postqueue/mailq.ts";
import { setLogSinks } from "../../../lib/log/log.ts";
import { Channel } from "../../../lib/sys/channel.ts";

const vectors = join(import.meta.dirname, "../../vectors/queue");
process.env.TZ = "UTC";

async function list(
  stream: Buffer,
  format: Format,
  chunk = stream.length,
): Promise<{ ok: boolean; text: string }> {
  const channel = new Channel("public/showq socket");
  let text = "";
  const done = printListing(channel, format, (piece) => {
    text += Buffer.from(piece).toString("latin1");
  });
  for (let at = 0; at < stream.length; at += chunk) {
    channel.onData(stream.subarray(at, at + chunk));
    await new Promise((resolve) => setImmediate(resolve));
  }
  channel.onEnd();
  return { ok: await done, text };
}

t.test("what the reference prints for its own streams", async (t) => {
  const stream = readFileSync(join(vectors, "ipc/showq_stream.bin"));
  const mailq = readFileSync(join(vectors, "ipc/showq_stream.mailq.txt"), "latin1");
  const json = readFileSync(join(vectors, "ipc/showq_stream.jsonl"), "latin1");
  t.same(await list(stream, mailqFormat(false, true)), { ok: true, text: mailq });
  t.same(await list(stream, jsonFormat(true)), { ok: true, text: json });
  t.same(await list(stream, mailqFormat(false, true), 7), { ok: true, text: mailq });
  for (const { name, showq_stream, mailq, json } of JSON.parse(
    readFileSync(join(vectors, "mailq.json"), "utf8"),
  )) {
    const bytes = Buffer.from(showq_stream, "latin1");
    t.same(await list(bytes, mailqFormat(/long/.test(name), true)), { ok: true, text: mailq }, name);
    t.same(await list(bytes, jsonFormat(true)), { ok: true, text: json }, name);
  }
});

t.test("a stream that is cut off is malformed", async (t) => {
  const before = setLogSinks([]);
  const stream = readFileSync(join(vectors, "ipc/showq_stream.bin"));
  for (const length of [0, 10, 60, 100, stream.length - 1])
    t.notOk((await list(stream.subarray(0, length), jsonFormat(true))).ok, String(length));
  setLogSinks(before);
});

t.test("QUE-11 whatever the queue holds, each line is JSON", async (t) => {
  const bytes = Buffer.from(Array.from({ length: 255 }, (_, index) => index + 1)).toString("latin1");
  const stream = `protocol\0mail_queue_list_protocol\0\0queue_name\0x\0queue_id\0A\0time\x0018446744073709551615\0size\x001\0forced_expire\x001\0sender\0${bytes}\0original_recipient\0\0recipient\0a\0log_class\0x\0reason\0\x1b[0m\xed\xa0\x80\0\0\0`;
  const { text } = await list(Buffer.from(stream, "latin1"), jsonFormat(true));
  t.equal(text.trimEnd().split("\n").length, 1);
  const parsed = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(Buffer.from(text, "latin1")));
  t.match(parsed, { forced_expire: true, recipients: [{ address: "a", other_reason: "\x1b[0m???" }] });
  t.ok((await list(Buffer.from(stream, "latin1"), mailqFormat(false, false))).ok);
});

t.test("numbers and ends of elements as a peer may write them", async (t) => {
  const head = "protocol\0mail_queue_list_protocol\0\0";
  const message = (time: string, size: string): string =>
    `queue_name\0hold\0queue_id\0A\0time\0${time}\0size\0${size}\0forced_expire\x000\0sender\0s@t\0`;
  const recipient = "original_recipient\0\0recipient\0a@b\0log_class\0defer\0reason\0why\0";
  const show = async (stream: string): Promise<string | undefined> => {
    const { ok, text } = await list(Buffer.from(head + stream, "latin1"), jsonFormat(true), 50);
    return ok ? text : undefined;
  };
  const expected = (time: number, size: number): string =>
    `{"queue_name": "hold", "queue_id": "A", "arrival_time": ${time}, "message_size": ${size}, "forced_expire": false, "sender": "s@t", "recipients": [{"orig_address": "", "address": "a@b", "delay_reason": "why"}]}\n`;
  t.equal(await show(`${message("17", "500")}${recipient}\0\0`), expected(17, 500));
  t.equal(await show(`${message("+17", " 0000000000000000000500")}${recipient}\0\0`), expected(17, 500));
  t.equal(await show(`${message("1", "123456789012345")}${recipient}\0\0`), expected(1, 123_456_789_012_345));
  const before = setLogSinks([]);
  t.equal(await show(`${message("", "500")}${recipient}\0\0`), undefined, "no number");
  t.equal(await show(`${message("1x", "500")}${recipient}\0\0`), undefined, "text behind a number");
  t.equal(await show(`${message("1", "500")}${recipient.replace("recipient", "recipients")}\0\0`), undefined);
  setLogSinks(before);
});
