/** MIME: no byte of the body is lost, problems are said once, nesting and headers stay within their limits. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { LINE, MIME_PROBLEMS, type MimeEvent, MimeParser, PIECE } from "../../../lib/message/mime.ts";
import type { Target } from "../runner.ts";

const MAIL = new URL("../../vectors/delivery/", import.meta.url);
const seeds = readdirSync(MAIL)
  .filter((name) => name.endsWith(".mbox"))
  .map((name) => readFileSync(new URL(name, MAIL)));
const HEADER_LIMIT = 2000;

const parse = (input: Buffer, downgrade: boolean): { events: MimeEvent[]; text: number } => {
  const events: MimeEvent[] = [];
  const parser = new MimeParser(
    {
      report: new Set(MIME_PROBLEMS.map(([problem]) => problem)),
      headerSizeLimit: HEADER_LIMIT,
      nestingLimit: 20,
      boundaryLimit: 70,
      downgrade,
    },
    (event) => events.push(event.kind === "body" ? { ...event, data: Buffer.from(event.data) } : event),
  );
  let text = 0;
  for (const line of input.toString("latin1").split("\n"))
    for (let at = 0; at === 0 || at < line.length; at += 100) {
      const piece = line.slice(at, at + 100);
      text += piece.length;
      parser.record(at + 100 < line.length ? PIECE : LINE, Buffer.from(piece, "latin1"));
    }
  parser.end();
  return { events, text };
};

export const mime: Target = {
  name: "mime",
  seeds: [
    ...seeds,
    Buffer.from(
      'Content-Type: multipart/mixed; boundary="a"\n\n--a\nContent-Type: message/rfc822\n\nSubject: x\nContent-Type: multipart/digest; boundary=b\n\n--b\n\nTo: x\n\ny\n--b--\n--a--\n',
    ),
  ],
  words: [
    "Content-Type: multipart/mixed; boundary=a\n",
    "Content-Type: message/rfc822\n",
    "Content-Transfer-Encoding: 8bit\n",
    "Content-Transfer-Encoding: base64\n",
    ...[
      "--a\n",
      "--a--\n",
      "\n\n",
      "\n",
      " ",
      "\t",
      ":",
      '"',
      "\\",
      "(",
      ";",
      "\r",
      "\0",
      "\xe9",
      "=",
      "x".repeat(200),
    ],
  ],
  check(bytes) {
    // a header ends at a NUL
    const input = Buffer.from(bytes.map((byte) => byte || 0x78));
    const { events, text } = parse(input, false);
    const problems = events.filter(({ kind }) => kind === "problem");
    assert.ok(problems.length <= MIME_PROBLEMS.length, "each problem once");
    let seen = 0;
    for (const event of events) {
      if (event.kind === "body") seen += event.data.length;
      if (event.kind === "header") {
        assert.ok(event.text.length <= HEADER_LIMIT + 1000, "headers have a limit");
        seen += event.text.replaceAll("\n", "").length;
      }
    }
    const cut = problems.some((event) => event.kind === "problem" && event.problem === "truncated");
    // blanks before a header's colon are dropped
    if (!cut)
      assert.ok(
        seen <= text && seen >= text - (input.toString("latin1").match(/[ \t]+:/g) ?? []).join("").length,
        `${seen} of ${text} bytes`,
      );
    parse(input, true);
  },
};
