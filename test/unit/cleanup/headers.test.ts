import { readFileSync } from "node:fs";
import t from "tap";
import { encodeUtf8 } from "../../../lib/sys/bytes.ts";
import { ID, submit } from "./harness.ts";

interface Row {
  config: Record<string, string>;
  rewrite_context: string;
  header: string[];
  result: string[];
  added: string[];
  log: string[];
}
const rows: Row[] = JSON.parse(readFileSync("test/vectors/processing/headers.json", "utf8"));

const BCC = 16;
const MAP = 32;
const HOLD = 4;
const stable = (text: string): string => text.replaceAll(ID, "QUEUEID").replace(/<\d{14}\./, "<TIME.");
const decoded = (text: string): string => Buffer.from(text, "latin1").toString("utf8");

for (const row of rows) {
  const title = `${row.rewrite_context} ${row.header[0]?.slice(0, 60)}`;
  t.test(title, async (t) => {
    const lines: Array<readonly [string, string]> = [];
    for (const line of row.header) {
      let rest = encodeUtf8(line);
      while (rest.length > 2048) {
        lines.push(["L", rest.slice(0, 2048)]);
        rest = rest.slice(2048);
      }
      lines.push(["N", rest]);
    }
    const outcome = await submit({
      config: row.config,
      flags: BCC | MAP | HOLD,
      records: [
        ["T", "1700000000 123456"],
        ["A", `rewrite_context=${row.rewrite_context}`],
        ["S", "sender@example.com"],
        ["R", "rcpt@example.com"],
        ["M", ""],
        ["N", "Received: by test.example (Postfix)"],
        ...lines,
        ["N", "X-Mark: 1"],
        ["N", "From: f@example.com"],
        ["N", "Message-Id: <fixed@id>"],
        ["N", "Date: now"],
        ["N", ""],
        ["N", "body"],
        ["X", ""],
        ["E", ""],
      ],
    });
    const text = outcome.records.map(([type, data]) => decoded(type === "N" ? data : `${type}:${data}`));
    const first = text.indexOf("Received: by test.example (Postfix)") + 1;
    const mark = text.indexOf("X-Mark: 1");
    t.same(text.slice(first, mark), row.result, "header");
    t.same(
      text.slice(text.indexOf("Date: now", mark) + 1, text.indexOf("", mark)).map(stable),
      row.added.map(stable),
      "added headers",
    );
    const log = outcome.log.filter((line) => !line.includes("message-id=<fixed@id>"));
    t.same(
      log.map((line) => decoded(stable(line))),
      row.log.map(stable),
      "log",
    );
  });
}
