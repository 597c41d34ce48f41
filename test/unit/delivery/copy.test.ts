/** Messages on their way out of the queue (delivery.md 3.1), and what becomes of mailboxes when something fails. */
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import t from "tap";
import { type CopyOptions, type CopySource, copyMessage, MBOX } from "../../../lib/delivery/copy.ts";
import { deliveredAddresses } from "../../../lib/delivery/delivered_headers.ts";
import { appendToMailbox } from "../../../lib/delivery/mailbox_lock.ts";
import { deliverMaildir } from "../../../lib/delivery/maildir.ts";
import { RecordBuffer } from "../../../lib/queue/record_writer.ts";
import { Rec } from "../../../lib/queue/records.ts";

const directory = mkdtempSync("/tmp/copy-test-");
t.teardown(() => rmSync(directory, { recursive: true }));

type Records = ReadonlyArray<readonly [type: number, data: string]>;
const lines = (...text: string[]): Records => text.map((line) => [Rec.NORMAL, line]);

/** A file with these content records after some envelope. */
function source(records: Records, changes: Partial<CopySource> = {}): CopySource & { close: () => void } {
  const buffer = new RecordBuffer();
  buffer.put(Rec.CONTENT);
  const offset = buffer.length;
  for (const [type, data] of records) buffer.put(type, data);
  const path = join(directory, "queue-file");
  writeFileSync(path, buffer.take());
  const fd = openSync(path, "r");
  return {
    fd,
    path,
    offset,
    size: 100,
    sender: "a@b.example",
    originalRecipient: "o@b.example",
    delivered: "d@b.example",
    ...changes,
    close: () => closeSync(fd),
  };
}

function copied(
  records: Records,
  options: CopyOptions = {},
  changes: Partial<CopySource> = {},
): { text: string; kind: string } {
  const from = source(records, changes);
  const parts: string[] = [];
  const chunks = copyMessage(from, options, 1795336395);
  for (;;) {
    const next = chunks.next();
    if (next.done === true) {
      from.close();
      return { text: parts.join(""), kind: next.value.kind };
    }
    parts.push(next.value.toString("latin1"));
  }
}

const END: Records = [[Rec.EXTRACTED, ""]];

t.test("lines", (t) => {
  t.same(copied([...lines("a", "", "b"), ...END]), { kind: "complete", text: "a\n\nb\n" });
  t.same(copied([[Rec.CONTINUED, "long "], [Rec.NORMAL, "line"], ...END]), {
    kind: "complete",
    text: "long line\n",
  });
  t.same(
    copied([[Rec.CONTINUED, "unfinished"], ...END]),
    { kind: "complete", text: "unfinished\n" },
    "a newline is added",
  );
  t.same(
    copied([...lines("a"), [Rec.PADDING, "0000"], [Rec.NORMAL, "b"], ...END]),
    { kind: "complete", text: "a\nb\n" },
    "padding is skipped",
  );
  t.same(copied(lines("a")).kind, "corrupt", "the content must have an end");
  t.same(copied([...lines("a"), [Rec.RECIPIENT, "x"]]).kind, "corrupt");
  t.end();
});

t.test("mailbox form", (t) => {
  const { text } = copied(
    [
      ...lines("Subject: x", "", "From me", ">From you", "from him", "From"),
      [Rec.CONTINUED, "x"],
      [Rec.NORMAL, "From here"],
      ...END,
    ],
    MBOX,
  );
  t.match(
    text,
    /^From a@b\.example {2}\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d 2026\nReturn-Path: <a@b\.example>\nX-Original-To: o@b\.example\nDelivered-To: d@b\.example\nSubject: x\n/,
  );
  t.ok(text.endsWith("\n\n>From me\n>From you\nfrom him\nFrom\nxFrom here\n\n"));
  t.match(copied(END, MBOX, { sender: "" }).text, /^From MAILER-DAEMON {2}.*\nReturn-Path: <>\n/);
  t.match(copied(END, MBOX, { sender: "a b@c.example" }).text, /^From "a b"@c\.example {2}/);
  t.notMatch(copied(END, MBOX, { originalRecipient: "" }).text, /X-Original-To/);
  t.end();
});

t.test("other line ends and dots", (t) => {
  const { text } = copied([...lines(".", "..x", "a."), ...END], { dotStuff: true, endOfLine: "\r\n" });
  t.equal(text, "..\r\n...x\r\na.\r\n");
  t.end();
});

t.test("any size", (t) => {
  for (const size of [65535, 65536, 65537, 200_000]) {
    const long = "x".repeat(size);
    t.equal(
      copied([...lines("From a", long, "From b"), ...END], { quoteFrom: true, blankLine: true }).text,
      `>From a\n${long}\n>From b\n\n`,
    );
  }
  const many = Array.from({ length: 20_000 }, (_, index) => `From line ${index}`);
  t.equal(
    copied([...lines(...many), ...END], { quoteFrom: true }).text,
    many.map((line) => `>${line}\n`).join(""),
  );
  t.end();
});

t.test("Delivered-To: headers", (t) => {
  const read = (records: Records): string[] => {
    const from = source(records);
    const found = [...deliveredAddresses(from, true)];
    from.close();
    return found;
  };
  t.same(
    read([
      ...lines(
        "delivered-TO: Games@Example.COM",
        "Subject: x",
        " Delivered-To: folded@x",
        "Delivered-To:",
        "  other@x",
        "",
        "Delivered-To: body@x",
      ),
      ...END,
    ]),
    ["games@example.com", "other@x"],
  );
  t.same(
    read([...lines(...Array.from({ length: 5000 }, (_, index) => `Delivered-To: u${index}@x`)), ...END])
      .length,
    1000,
    "bounded",
  );
  t.end();
});

const asOwner = <T>(work: () => T): T => work();

t.test("Maildir", async (t) => {
  const maildir = join(directory, "Maildir/");
  const deliver = async (records: Records, folder = maildir) => {
    const from = source(records);
    try {
      return await deliverMaildir(from, folder, asOwner, "5.2.0", {
        seconds: 1795335924,
        microseconds: 599862,
      });
    } finally {
      from.close();
    }
  };
  t.equal(
    (await deliver([...lines("Subject: x", "", "From me"), ...END])).kind,
    "delivered",
    "directories are made",
  );
  const [name = ""] = readdirSync(join(maildir, "new"));
  t.match(name, /^1795335924\.V[0-9a-f]+I[0-9a-f]+M599862\.[^/]+$/);
  t.equal(
    name.includes(`I${statSync(join(maildir, "new", name)).ino.toString(16)}M`),
    true,
    "the inode is in the name",
  );
  const text = readFileSync(join(maildir, "new", name), "latin1");
  t.equal(
    text,
    "Return-Path: <a@b.example>\nX-Original-To: o@b.example\nDelivered-To: d@b.example\nSubject: x\n\nFrom me\n",
  );
  t.equal(statSync(join(maildir, "new", name)).mode & 0o777, 0o600);
  t.equal((await deliver(lines("no end"))).kind, "corrupt");
  t.same(readdirSync(join(maildir, "tmp")), [], "nothing is left behind");
  t.equal(readdirSync(join(maildir, "new")).length, 1);
  mkdirSync(join(directory, "plain"));
  writeFileSync(join(directory, "plain/tmp"), "");
  const from = source([...lines("x"), ...END]);
  const now = { seconds: 1, microseconds: 2 };
  const failed = await deliverMaildir(from, join(directory, "plain/"), asOwner, "5.2.0", now);
  from.close();
  t.equal(failed.kind, "failed");
  t.match(failed.kind === "failed" ? failed.dsn.reason : "", /^create maildir file .*: Not a directory$/);
  const several = await Promise.all(Array.from({ length: 20 }, () => deliver([...lines("at once"), ...END])));
  t.same(new Set(several.map(({ kind }) => kind)), new Set(["delivered"]), "twenty in the same second");
  t.equal(readdirSync(join(maildir, "new")).length, 21);
  const byTwoPaths = await Promise.all(
    [maildir, `${directory}/./Maildir/`].map((folder) => deliver([...lines("at once"), ...END], folder)),
  );
  t.same(byTwoPaths, [{ kind: "delivered" }, { kind: "delivered" }], "a folder by two paths");
  t.same(readdirSync(join(maildir, "tmp")), []);
});

t.test("what a failed append wrote is taken back", (t) => {
  const path = join(directory, "mbox");
  writeFileSync(path, "before\n");
  const fd = openSync(path, "a");
  const mailbox = { fd, path, stat: statSync(path), dotlock: undefined };
  function* failing(): Generator<Buffer, string> {
    yield Buffer.from("half a message");
    throw Object.assign(new Error("no space"), { code: "ENOSPC" });
  }
  t.throws(() => appendToMailbox(mailbox, failing(), () => true), { code: "ENOSPC" });
  t.equal(readFileSync(path, "latin1"), "before\n");
  function* refused(): Generator<Buffer, string> {
    yield Buffer.from("a broken message");
    return "corrupt";
  }
  appendToMailbox(mailbox, refused(), () => false);
  t.equal(readFileSync(path, "latin1"), "before\n");
  const appended = appendToMailbox(mailbox, refused(), () => true);
  t.match(appended, { result: "corrupt", offset: 7 });
  t.equal(readFileSync(path, "latin1"), "before\na broken message");
  appended.takeBack();
  t.equal(readFileSync(path, "latin1"), "before\n", "also when it cannot be synced");
  closeSync(fd);
  t.end();
});
