import { closeSync, fstatSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { setLogSinks } from "../../../lib/log/log.ts";
import { LogLines } from "../../../lib/queue/log_lines.ts";

const scratch = mkdtempSync(join(tmpdir(), "posthaste-log-lines-"));
const path = join(scratch, "log");
t.teardown(() => rmSync(scratch, { recursive: true }));

/** What each line gave, and the complaints. */
function read(text: string, utf8 = false): { lines: string[]; complaints: string[]; largest: number } {
  writeFileSync(path, text, "latin1");
  const complaints: string[] = [];
  const before = setLogSinks([(event) => complaints.push(event.text)]);
  const reader = new LogLines(openSync(path, "r"), "log", utf8);
  const lines: string[] = [];
  let largest = 0;
  for (let line = reader.next(); line !== "end"; line = reader.next()) {
    if (line === "unusual") lines.push(`unusual ${JSON.stringify(reader.field ?? reader.text)}`);
    else lines.push(line === "blank" ? line : `${line} ${reader.text}`);
    largest = Math.max(largest, reader.bytes.length);
  }
  reader.close();
  setLogSinks(before);
  return { lines, complaints, largest };
}

t.test("both styles of an entry", async (t) => {
  const { lines, complaints } = read(
    "\n<a@b>: why not\nrecipient=a@b\noffset = 12\nreason=  why not  \n\n<>:\nlast=1",
  );
  t.same(lines, [
    "blank",
    "recipient a@b",
    "reason why not",
    "recipient a@b",
    'unusual ["offset","12"]',
    "reason why not",
    "blank",
    'unusual "<>:"',
    'unusual "last=1"',
  ]);
  t.same(complaints, ["log: malformed record: <>:...", "log: unknown attribute name: last, ignored"]);
});

t.test("a text is the same wherever a read ends", async (t) => {
  for (let shift = 0; shift < 4; shift++) {
    const reason = `${"x".repeat(16_384 - 10 + shift)}\xc3\xa9\xc3 end`;
    t.same(read(`reason=${reason}\nstatus=4.0.0\n`, true).lines, [
      `reason ${reason.replace("\xc3 ", "? ")}`,
      "status 4.0.0",
    ]);
  }
});

t.test("a line without end is cut, and takes no memory; what follows is read", async (t) => {
  const { lines, largest } = read(`reason=${"y".repeat(5_000_000)}\nrecipient=a@b\n\n`);
  t.same(lines.slice(1), ["recipient a@b", "blank"]);
  t.ok((lines[0]?.length ?? 0) < 65_536, `${lines[0]?.length} bytes`);
  t.ok(largest <= 65_536, `${largest} bytes of memory`);
});

t.test("a reader is closed once", async (t) => {
  writeFileSync(path, "reason=x\n");
  const fd = openSync(path, "r");
  const reader = new LogLines(fd, "log", false);
  reader.close();
  const other = openSync(path, "r");
  t.equal(other, fd);
  reader.close();
  t.ok(fstatSync(other).isFile());
  t.equal(reader.next(), "end");
  closeSync(other);
});
