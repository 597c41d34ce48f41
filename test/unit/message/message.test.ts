import t from "tap";
import { parseContentType, parseEncoding } from "../../../lib/message/content_type.ts";
import { ascTime, compactUtc, mailDate } from "../../../lib/message/date.ts";
import { foldHeader, headerValue, labelLength, normalizeLabel } from "../../../lib/message/header.ts";
import { generateMessageId, leadingMessageId } from "../../../lib/message/message_id.ts";
import { LINE, type MimeEvent, type MimeOptions, MimeParser, PIECE } from "../../../lib/message/mime.ts";
import { loadZone, posixZone } from "../../../lib/message/zone.ts";

t.test("header lines", (t) => {
  t.equal(labelLength("Subject: x"), 7);
  t.equal(labelLength("X-Foo \t : x"), 5);
  t.equal(labelLength("A:"), 1);
  for (const line of ["", ":", " a: b", "a b: c", "From user@x Mon", "caf\xe9: x", "a\x01: x"])
    t.equal(labelLength(line), 0, line);
  t.equal(normalizeLabel("X-Foo   : bar", 5), "X-Foo: bar");
  t.equal(headerValue("A:\n\t b"), "b");
  t.equal(foldHeader("To: a,\nb"), "To: a, b");
  t.equal(foldHeader(`To: ${"a".repeat(70)},\nb`), `To: ${"a".repeat(70)},\n\tb`);
  t.end();
});

t.test("JS-27 dates", (t) => {
  const utc = loadZone("");
  t.equal(mailDate(1700000000, utc), "Tue, 14 Nov 2023 22:13:20 +0000 (UTC)");
  t.equal(compactUtc(1700000000), "20231114221320");
  t.equal(ascTime(1699100000, utc), "Sat Nov  4 12:13:20 2023");
  const berlin = posixZone("CET-1CEST,M3.5.0,M10.5.0/3");
  if (berlin === undefined) return t.fail("zone");
  t.equal(mailDate(1700000000, berlin), "Tue, 14 Nov 2023 23:13:20 +0100 (CET)");
  t.equal(mailDate(1690000000, berlin), "Sat, 22 Jul 2023 06:26:40 +0200 (CEST)");
  t.same(berlin(1679792400 - 1), { offset: 3600, abbreviation: "CET" }, "the last second of winter time");
  t.same(berlin(1679792400), { offset: 7200, abbreviation: "CEST" });
  t.same(posixZone("<+0330>-3:30")?.(0), { offset: 12600, abbreviation: "+0330" });
  t.same(
    posixZone("EST5EDT")?.(1690000000),
    { offset: -14400, abbreviation: "EDT" },
    "rules default to the American ones",
  );
  t.equal(posixZone("nonsense"), undefined);
  t.same(loadZone("../../../etc/passwd")(0), { offset: 0, abbreviation: "UTC" });
  t.end();
});

t.test("zone files agree with their POSIX rule", (t) => {
  const file = loadZone("America/New_York");
  const rule = posixZone("EST5EDT,M3.2.0,M11.1.0");
  if (file(0).abbreviation === "UTC" || rule === undefined) return t.end();
  for (let time = 1_300_000_000; time < 3_000_000_000; time += 2_345_678) t.same(file(time), rule(time));
  t.end();
});

t.test("message ids", (t) => {
  t.equal(
    generateMessageId("ABC", 1700000000, "mail.example.com", false),
    "<20231114221320.ABC@mail.example.com>",
  );
  t.equal(generateMessageId("ABC", 1700000000, "mail.example.com", true), "<ABC@mail.example.com>");
  t.equal(leadingMessageId("<a@b> trailing"), "<a@b>");
  t.equal(leadingMessageId("<a<b>c> x"), "<a<b>c>");
  t.equal(leadingMessageId("<a\xe9\tb>"), "<a  b>");
  for (const value of ["a@b", "<a@b", ""]) t.equal(leadingMessageId(value), undefined);
  t.end();
});

t.test("content types", (t) => {
  t.same(parseContentType('Multipart/Mixed; x=y; Boundary="a b"; boundary=c (comment)'), {
    kind: "multipart",
    subtype: "mixed",
    boundaries: ["a b", "c"],
  });
  t.same(parseContentType("text"), { kind: "text", subtype: "", boundaries: [] });
  t.equal(parseContentType(" ; x"), undefined);
  t.equal(parseEncoding(" (x) 8BIT y"), "8bit");
  t.equal(parseEncoding("uuencode"), undefined);
  t.end();
});

const OPTIONS: MimeOptions = {
  report: new Set(),
  headerSizeLimit: 1000,
  nestingLimit: 100,
  boundaryLimit: 100,
};
function events(
  lines: ReadonlyArray<string | [number, string]>,
  options: Partial<MimeOptions> = {},
): string[] {
  const seen: string[] = [];
  const say = (event: MimeEvent): void => {
    if (event.kind === "header") seen.push(`${event.headerClass} ${event.text}`);
    else if (event.kind === "body")
      seen.push(
        `${event.type === LINE ? "N" : "L"}${event.offset} ${Buffer.from(event.data).toString("latin1")}`,
      );
    else if (event.kind === "problem") seen.push(`problem ${event.problem}`);
    else seen.push(event.kind);
  };
  const parser = new MimeParser({ ...OPTIONS, ...options }, say);
  for (const line of lines) {
    const [type, text] = typeof line === "string" ? [LINE, line] : line;
    parser.record(type, Buffer.from(text, "latin1"));
  }
  parser.end();
  return seen;
}

t.test("the structure of a message", (t) => {
  t.same(
    events([
      'Content-Type: multipart/digest; boundary="b"',
      "",
      "pre",
      "--b",
      "",
      "From: x",
      "",
      "y",
      "--b--",
      "post",
    ]),
    [
      'mime Content-Type: multipart/digest; boundary="b"',
      "headersEnd",
      "N0 ",
      "N1 pre",
      "N5 --b",
      "N0 ",
      "nested From: x",
      "N0 ",
      "N1 y",
      "N3 --b--",
      "N9 post",
    ],
  );
  t.same(
    events(["A: b", " c", "text"]),
    ["primary A: b\n c", "headersEnd", "N0 ", "N1 text"],
    "no empty line",
  );
  t.same(
    events([
      [PIECE, "A: b"],
      [LINE, "c"],
      [LINE, " d"],
    ]),
    ["primary A: bc\n d", "headersEnd"],
  );
  t.same(events(["", [PIECE, "x"]]), ["headersEnd", "N0 ", "L1 x", "N3 "], "an unfinished line gets its end");
  t.same(events(["A: b", "", "--x"], { disabled: true }), ["primary A: b", "headersEnd", "N0 ", "N1 --x"]);
  t.end();
});

t.test("limits", (t) => {
  const long = events(["A: b", ...Array.from({ length: 100 }, () => ` ${"c".repeat(100)}`)], {
    report: new Set(["truncated"]),
  });
  t.equal(long[0], "problem truncated");
  t.ok((long[1]?.length ?? 0) < 1200);
  const nested = (count: number): string[] =>
    Array.from({ length: count }, (_, index) => [
      `Content-Type: multipart/mixed; boundary=b${index}`,
      "",
      `--b${index}`,
    ]).flat();
  t.notOk(events(nested(102), { report: new Set(["nesting"]) }).includes("problem nesting"));
  t.ok(events(nested(103), { report: new Set(["nesting"]) }).includes("problem nesting"));
  t.end();
});

t.test("problems are reported once", (t) => {
  const report: MimeOptions["report"] = new Set(["8bit-header", "8bit-body", "domain", "end-of-header"]);
  const seen = events(
    [
      "Subject: \xe9",
      "Subject: \xe9",
      "Content-Type: message/partial",
      "Content-Transfer-Encoding: base64",
      "\xe9",
    ],
    { report },
  );
  t.same(
    seen.filter((line) => line.startsWith("problem")),
    ["problem 8bit-header", "problem domain", "problem end-of-header"],
  );
  t.ok(events(["", "\xe9", "\xe9"], { report }).filter((line) => line === "problem 8bit-body").length === 1);
  t.end();
});
