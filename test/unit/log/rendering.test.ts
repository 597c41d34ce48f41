/** What becomes of a log line: masked, cut, as text and as JSON; the count of errors; a file that cannot be written. */
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { configurationFromText } from "../../../lib/config/configuration.ts";
import { defineEvent, type LogEvent } from "../../../lib/log/event.ts";
import { jsonRenderer } from "../../../lib/log/json.ts";
import {
  ClientAbort,
  check,
  error,
  info,
  log,
  logClientAbort,
  logRecord,
  setLogSinks,
  setLogUtf8,
  setVerbosity,
  verbose,
  warning,
} from "../../../lib/log/log.ts";
import { LogFile } from "../../../lib/log/log_file.ts";
import { renderer } from "../../../lib/log/setup.ts";
import { encodeUtf8 } from "../../../lib/sys/bytes.ts";
import { errnoNumber, SysError } from "../../../lib/sys/errno.ts";

function captured(t: Test, work: () => void): LogEvent[] {
  const events: LogEvent[] = [];
  const previous = setLogSinks([(event) => events.push(event)]);
  t.teardown(() => setLogSinks(previous));
  work();
  setLogSinks(previous);
  return events;
}
const texts = (t: Test, work: () => void): string[] => captured(t, work).map(({ text }) => text);

t.test("masking", async (t) => {
  setLogUtf8(true);
  t.teardown(() => setLogUtf8(false));
  const CASES: ReadonlyArray<readonly [input: string, output: string]> = [
    ["non\bprint", "non?print"],
    ["tab\tnewline\ndel\x7fnul\0", "tab?newline?del?nul?"],
    ["na\xc3\xafve", "na\xc3\xafve"],
    ["na\xc3ve", "na?ve"],
    ["\xd0\xb2\xd0\xd0\xba\xba\xd1\x82", "\xd0\xb2?\xd0\xba?\xd1\x82"],
    ["overlong \xc0\xaf", "overlong ??"],
    ["surrogate \xed\xa0\x80", "surrogate ???"],
    ["beyond \xf4\x90\x80\x80", "beyond ????"],
    ["cut \xe2\x82", "cut ??"],
  ];
  for (const [input, output] of CASES)
    t.same(
      texts(t, () => info(input)),
      [output],
    );
  setLogUtf8(false);
  t.same(
    texts(t, () => info("na\xc3\xafve")),
    ["na??ve"],
    "without smtputf8_enable all of it",
  );
});

t.test("severity words, and the cut at 2000 bytes without them", async (t) => {
  const render = renderer(configurationFromText("maillog_format = text\n"), "postfix/smtpd");
  const long = "x".repeat(2500);
  const lines = captured(t, () => {
    info(long);
    warning("w");
    error("e");
    logClientAbort(new ClientAbort("f"));
    warning(long);
  }).map(render);
  t.same(lines, ["x".repeat(2000), "warning: w", "error: e", "fatal: f", `warning: ${"x".repeat(2000)}`]);
});

t.test("verbose lines come as far as -v was given", async (t) => {
  t.teardown(() => setVerbosity(0));
  const work = () => {
    verbose(() => "one");
    verbose(() => "two", 2);
  };
  t.same(texts(t, work), []);
  setVerbosity(1);
  t.same(texts(t, work), ["one"]);
  setVerbosity(2);
  t.same(texts(t, work), ["one", "two"]);
});

t.test("check() says what failed and goes on; a mistake of ours is not hidden", async (t) => {
  const lines = texts(t, () => {
    t.equal(
      check("close file", () => {
        throw new SysError("close", errnoNumber("EIO"), "file");
      }),
      false,
    );
  });
  t.match(lines, [/^close file: /]);
  t.throws(
    () =>
      check("x", () => {
        throw new TypeError("no function");
      }),
    TypeError,
  );
});

t.test("another program's errors do not count as this one's", async (t) => {
  const event: LogEvent = { level: "error", event: "postlog", text: "e", fields: {} };
  t.equal(captured(t, () => Array.from({ length: 20 }, () => logRecord(event))).length, 20);
});

const configuration = configurationFromText("myhostname = mail.example.com\nmaillog_format = json\n");
const delivered = defineEvent(
  "delivered",
  "info",
  (f: { queueId: string; to: string; relays: ReadonlyArray<string>; delay: number }) =>
    `${f.queueId}: to=<${f.to}>, relays=${f.relays.join(" ")}, delay=${f.delay}`,
);
const parsed = (line: string) =>
  JSON.parse(Buffer.from(line, "latin1").toString("utf8")) as Record<string, unknown>;

t.test("JSON has the fields of the event and of the header", async (t) => {
  const render = jsonRenderer(configuration, "postfix/submission/smtpd");
  const line = parsed(
    render(delivered({ queueId: "ABC", to: encodeUtf8("ö@example.org"), relays: ["a", "b"], delay: 0.5 })),
  );
  t.match(line, {
    level: "info",
    host: "mail.example.com",
    name: "postfix/submission",
    program: "smtpd",
    pid: process.pid,
    event: "delivered",
    queueId: "ABC",
    to: "ö@example.org",
    relays: ["a", "b"],
    delay: 0.5,
    message: "ABC: to=<ö@example.org>, relays=a b, delay=0.5",
  });
  t.ok(Math.abs(Date.parse(String(line.time)) - Date.now()) < 60_000);
  t.equal(parsed(render({ level: "warning", event: "message", text: "w", fields: {} })).level, "warn");
  t.match(parsed(render({ level: "panic", event: "message", text: "p", fields: {} })), {
    level: "fatal",
    panic: true,
  });
  const odd = parsed(render(delivered({ queueId: "A", to: '\xff"\n', relays: [], delay: 1 })));
  t.equal(odd.to, 'ÿ"\n', "bytes that are no UTF-8 are shown as Latin-1");
});

t.test("a JSON record stays one that postlogd takes whole", async (t) => {
  const render = jsonRenderer(configuration, "postfix/smtpd");
  for (const size of [100, 1900, 3000, 100_000])
    for (const fill of ["x", '"', "\x01", encodeUtf8("ö"), "\xff"]) {
      const text = fill.repeat(Math.ceil(size / fill.length));
      const line = render(delivered({ queueId: "ABC", to: text, relays: Array(50).fill(text), delay: 1 }));
      t.ok(line.length <= 4096, `${size} of ${JSON.stringify(fill)}: ${line.length} bytes`);
      t.match(parsed(line), { event: "delivered", queueId: "ABC", truncated: true });
    }
  t.notOk("truncated" in parsed(render(delivered({ queueId: "A", to: "b", relays: [], delay: 1 }))));
});

t.test("no line ends in the middle of another, and a full disk is said once", async (t) => {
  const folder = t.testdir({});
  const path = join(folder, "maillog");
  writeFileSync(path, "");
  const complaints: string[] = [];
  const readOnly = openSync(path, "r");
  const failing = new LogFile(readOnly, path, (text) => complaints.push(text));
  failing.append(Buffer.from("lost\n"));
  failing.append(Buffer.from("lost\n"));
  closeSync(readOnly);
  t.equal(complaints.length, 1);
  t.match(complaints[0], `write logfile '${path}': `);
  const fd = openSync(path, "a");
  const working = new LogFile(fd, path, (text) => complaints.push(text));
  working.append(Buffer.from("one\ntwo\n"));
  working.append(Buffer.from("three\n"));
  closeSync(fd);
  t.equal(readFileSync(path, "latin1"), "one\ntwo\nthree\n");
  t.equal(complaints.length, 1);
});

t.test("an event is logged as it is declared", async (t) => {
  const events = captured(t, () => log(delivered({ queueId: "A\n", to: "b", relays: [], delay: 1 })));
  t.same(events, [
    {
      level: "info",
      event: "delivered",
      text: "A?: to=<b>, relays=, delay=1",
      fields: { queueId: "A\n", to: "b", relays: [], delay: 1 },
    },
  ]);
});
