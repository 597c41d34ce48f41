import t from "tap";
import { ChunkSplitter, type ContentSink, DataSplitter } from "../../../lib/smtp/data_stream.ts";

class Lines implements ContentSink {
  readonly lines: string[] = [];
  private part = "";
  pieces = 0;
  longest = 0;
  record(whole: boolean, bytes: Buffer, start: number, end: number): void {
    this.pieces++;
    this.longest = Math.max(this.longest, end - start);
    this.part += bytes.toString("latin1", start, end);
    if (!whole) return;
    this.lines.push(this.part);
    this.part = "";
  }
}

interface Outcome {
  lines: string[];
  rest: string | undefined;
  bare: boolean;
}

function data(text: string, detect: boolean, size: number, limit = 2048): Outcome {
  const sink = new Lines();
  const splitter = new DataSplitter(sink, { lineLimit: limit, detectBareLf: detect });
  const bytes = Buffer.from(text, "latin1");
  for (let at = 0; at < bytes.length; at += size) {
    const done = splitter.push(bytes.subarray(at, at + size));
    if (done >= 0) return { lines: sink.lines, rest: text.slice(at + done), bare: splitter.sawBareLf };
  }
  return { lines: sink.lines, rest: undefined, bare: splitter.sawBareLf };
}

t.test("SMTPD-06: the end of data, at every chunk boundary", async (t) => {
  const cases: Array<
    [name: string, around: string, detectEnds: boolean, liberalEnds: boolean, kept: string | undefined]
  > = [
    ["LF.LF", "\n.\n", false, true, undefined],
    ["CRLF.LF", "\r\n.\n", false, true, undefined],
    ["LF.CRLF", "\n.\r\n", false, true, undefined],
    ["CRLF.CR", "\r\n.\r", false, false, "\rMAIL"],
    ["CRLF.CRCRLF", "\r\n.\r\r\n", false, true, "\r"],
    ["CRLF NUL.CRLF", "\r\n\0.\r\n", false, false, "\0."],
    ["CRLF.CRLF", "\r\n.\r\n", true, true, undefined],
  ];
  for (const [name, around, detectEnds, liberalEnds, kept] of cases) {
    for (const detect of [true, false]) {
      const text = `a${around}MAIL\r\n.\r\nREST`;
      const ends = detect ? detectEnds : liberalEnds;
      for (let size = 1; size <= text.length; size++) {
        const outcome = data(text, detect, size, 512);
        const rest = ends ? "MAIL\r\n.\r\nREST" : "REST";
        t.ok(outcome.rest !== undefined && rest.startsWith(outcome.rest), `${name} ${detect} ${size}`);
        const expected = ends
          ? ["a"]
          : ["a", ...(kept === undefined ? [] : [kept]), ...(kept === "\rMAIL" ? [] : ["MAIL"])];
        t.same(outcome.lines, expected, `${name} ${detect} ${size}`);
      }
    }
  }
});

t.test("dots", async (t) => {
  t.same(data("..\r\n.a\r\n...\r\n.\r\n", true, 3).lines, [".", "a", ".."]);
  t.equal(data("a\nb\r\n.\r\n", true, 100).bare, true);
  t.equal(data("a\nb\r\n.\r\n", false, 100).bare, false);
});

t.test("long lines, at every boundary around the limit", async (t) => {
  for (const length of [511, 512, 513, 1023, 1024, 1025, 5000]) {
    const line = "x".repeat(length);
    for (const size of [1, 7, 511, 512, 513, 100000]) {
      const sink = new Lines();
      const splitter = new DataSplitter(sink, { lineLimit: 512, detectBareLf: true });
      const bytes = Buffer.from(`${line}\r\n.\r\n`, "latin1");
      let done = -1;
      for (let at = 0; at < bytes.length; at += size) done = splitter.push(bytes.subarray(at, at + size));
      t.ok(done >= 0);
      t.same(sink.lines, [line], `${length} in ${size}`);
      t.ok(sink.longest <= 512);
      t.equal(splitter.sawBareLf, false, "a split CR LF is no bare LF");
    }
  }
  const dots = data(`${"x".repeat(512)}.\r\n.\r\n`, true, 1, 512);
  t.same(dots.lines, [`${"x".repeat(512)}.`], "a dot behind a full piece is content");
});

t.test("a line that fits with its CR is one record, as in the reference", async (t) => {
  for (const [length, pieces] of [
    [511, 1],
    [512, 2],
    [1023, 2],
    [1024, 3],
  ] as const) {
    for (const size of [1, 100, 10000]) {
      const sink = new Lines();
      const splitter = new DataSplitter(sink, { lineLimit: 512, detectBareLf: true });
      const bytes = Buffer.from(`${"x".repeat(length)}\r\n`, "latin1");
      for (let at = 0; at < bytes.length; at += size) splitter.push(bytes.subarray(at, at + size));
      t.equal(sink.pieces, pieces, `${length} in ${size}`);
    }
  }
});

t.test("SMTPD-08: lines across chunks", async (t) => {
  const sink = new Lines();
  const splitter = new ChunkSplitter(sink, { lineLimit: 2048, detectBareLf: true });
  for (const chunk of ["S: x\r\n\r\na\r", "\n.", "\r", "\nb\n.\nc\r.\rd\r\n", "end"])
    splitter.push(Buffer.from(chunk, "latin1"));
  t.equal(splitter.pending, 3);
  splitter.finish();
  t.same(sink.lines, ["S: x", "", "a", ".", "b", ".", "c\r.\rd", "end"]);
  t.equal(splitter.sawBareLf, true);
});
