/** Notices of bounce(8), byte for byte, against those of a real Postfix (test/vectors/delivery/bounce-*.mbox), with its texts as a template file. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import t, { type Test } from "tap";
import { decode, encode } from "../../../lib/ipc/attributes.ts";
import {
  BOUNCE_FLAG,
  BounceAppend,
  BounceFlush,
  BounceGreeting,
  BounceOne,
  BounceStatus,
  BounceTrace,
  BounceVerp,
  BounceWarn,
} from "../../../lib/ipc/protocols/bounce.ts";
import { Instance, type Posted } from "../delivery/support/instance.ts";

const vector = (name: string): string =>
  readFileSync(new URL(`../../vectors/delivery/${name}`, import.meta.url), "latin1");

interface Recipient {
  readonly recipient: string;
  readonly original?: string;
  readonly orcpt?: string;
  readonly status?: string;
  readonly reason: string;
  readonly action?: string;
  readonly notify?: number;
  readonly diagnostic?: readonly [type: string, text: string];
  readonly mta?: string;
}

const ORIGINAL = [
  "Received: by test.example (Postfix)",
  "From: Games <games@example.com>",
  "To: x@example.com",
  "Subject: test mail",
  "Message-Id: <orig@id.example>",
  "Date: now",
  "X-Long: folded",
  " header",
  "",
  "body line 1",
  "From body",
  "",
];

/** A message of a vector, without what delivery put before it and with what cleanup completed taken back. */
const expected = (message: string): string =>
  message
    .replace(/^From .*\nReturn-Path: .*\nX-Original-To: .*\nDelivered-To: .*\n/, "")
    .replace(/^Message-Id: <\d{14}.*\n/m, "")
    .replace(/^(From: .*MAILER-DAEMON)@example\.com/m, "$1")
    .replace(/^To: postmaster@example\.com/m, "To: postmaster")
    .replace(/^>From /gm, "From ")
    .replace(/\n+$/, "");

const normal = (text: string): string =>
  text
    .replace(/\w{3}, \d\d \w{3} \d{4} [\d:]{8} \+0000 \(UTC\)/g, "DATE")
    .replace(/\tid \w+; DATE/g, "\tid ID; DATE")
    .replace(/\b\w+\.\d{10}\/mail/g, "BOUNDARY/mail");

const messages = (name: string): string[] =>
  vector(`bounce-${name}.mbox`)
    .split(/^(?=From \S+ {2}\w{3} \w{3} .*\n)/m)
    .map((message) => normal(expected(message)));

const content = (posted: Posted | undefined): string => {
  const lines = (posted?.records ?? [])
    .filter(([type]) => type === "N" || type === "L")
    .map(([, data]) => data);
  return normal(lines.join("\n"));
};
const envelope = (posted: Posted | undefined): string =>
  (posted?.records ?? [])
    .filter(([type]) => type === "S" || type === "R")
    .map(([type, data]) => `${type} <${data}>`)
    .join(" ");

class Bounce {
  readonly instance = new Instance();
  constructor(t: Test) {
    t.teardown(() => this.instance.close());
    this.configure("");
    writeFileSync(this.instance.path("templates"), vector("templates-default.txt"));
  }
  configure(settings: string): void {
    this.instance.configure(
      [
        "compatibility_level = 3.11",
        "myhostname = mail.example.com",
        "myorigin = example.com",
        `bounce_template_file = ${this.instance.path("templates")}`,
        settings,
        "",
      ].join("\n"),
    );
  }

  async ask(service: string, request: string): Promise<{ status: number | undefined; log: string[] }> {
    const { log, output } = await this.instance.run(
      "bounce",
      ["-n", service],
      Buffer.from(request, "latin1"),
    );
    const greeting = decode(BounceGreeting, output);
    const reply =
      greeting.kind === "value" ? decode(BounceStatus, output.subarray(greeting.length)) : greeting;
    // the connection to cleanup may still be on its way to its end
    await new Promise((resolve) => setTimeout(resolve, 50));
    return {
      status: reply.kind === "value" && "status" in reply.value ? reply.value.status : undefined,
      log,
    };
  }

  append(service: string, entry: Recipient, flags = 0) {
    return this.ask(
      service,
      encode(BounceAppend, { flags, queueId: "QUEUEID", ...recipientOf(entry), ...statusOf(entry) }),
    );
  }

  /** Logs the recipients, asks for a notice, and gives what was posted. */
  async notice(
    service: string,
    entries: ReadonlyArray<Recipient>,
    request: string,
  ): Promise<{ status: number | undefined; log: string[]; posted: Posted[] }> {
    for (const entry of entries) await this.append(service, entry);
    const before = this.instance.posted.length;
    const { status, log } = await this.ask(service, request);
    return { status, log, posted: this.instance.posted.slice(before) };
  }
}

const recipientOf = (entry: Recipient) => ({
  originalRecipient: entry.original ?? "",
  recipient: entry.recipient,
  offset: 207,
  dsnOriginalRecipient: entry.orcpt ?? `rfc822;${entry.recipient}`,
  notifyFlags: entry.notify ?? 0,
});
const statusOf = (entry: Recipient) => ({
  status: entry.status ?? "5.1.1",
  diagnosticType: entry.diagnostic?.[0] ?? "",
  diagnosticText: entry.diagnostic?.[1] ?? "",
  mtaType: entry.mta === undefined ? "" : "dns",
  mtaName: entry.mta ?? "",
  action: entry.action ?? "failed",
  reason: entry.reason,
});

const about = {
  flags: 0,
  queueName: "active",
  queueId: "QUEUEID",
  encoding: "",
  sendopts: 0,
  sender: "games@example.com",
  envelopeId: "",
  retFlags: 0,
};
const UNKNOWN: Recipient = { recipient: "nosuchuser@example.com", reason: 'unknown user: "nosuchuser"' };

t.setTimeout(180_000);

t.test("notices", async (t) => {
  t.setTimeout(120_000);
  const bounce = new Bounce(t);
  const { instance } = bounce;
  await instance.fakeCleanup();
  const store = (sender: string): unknown =>
    instance.store("QUEUEID", sender, ["x@example.com"], ORIGINAL, ["message_id=<orig@id.example>"]);
  store("games@example.com");

  const check = async (
    t: Test,
    name: string,
    service: string,
    entries: ReadonlyArray<Recipient>,
    request: string,
    settings = "",
  ): Promise<void> => {
    bounce.configure(settings);
    const { status, posted } = await bounce.notice(service, entries, request);
    t.equal(status, 0, `${name}: status`);
    const wanted = messages(name);
    t.equal(posted.length, wanted.length, `${name}: number of notices`);
    const got = posted.map(content);
    for (const message of wanted) {
      const exact = got.find((text) => text === message);
      t.equal(exact ?? got[0], message, name);
    }
  };
  const flush = (changes: Partial<typeof about> = {}): string =>
    encode(BounceFlush, { ...about, ...changes });

  await t.test("failure", (t) => check(t, "failure", "bounce", [UNKNOWN], flush()));
  t.notOk(existsSync(instance.path("queue/bounce/QUEUEID")), "the log is gone");
  await t.test("RET=HDRS", (t) => check(t, "ret-hdrs", "bounce", [UNKNOWN], flush({ retFlags: 2 })));
  await t.test("too big to be returned", (t) =>
    check(t, "size-limit", "bounce", [UNKNOWN], flush(), "bounce_size_limit = 100"),
  );
  await t.test("two recipients, one by an alias, with ENVID", (t) =>
    check(
      t,
      "failure-alias-multi",
      "bounce",
      [
        { recipient: "x@err.example", status: "5.7.1", reason: "no mail here" },
        { ...UNKNOWN, original: "nolocal@example.com", orcpt: "rfc822;orig@x" },
      ],
      flush({ envelopeId: "MYENVID" }),
    ),
  );
  await t.test("what a server said, wrapped", (t) => {
    const said =
      "550-5.1.1 <x@s1.test>: Recipient address rejected: User unknown in local recipient 550 5.1.1 table, a long reply that will have to be wrapped by the bounce daemon";
    const reason = `host 127.0.0.1[127.0.0.1] said: ${said} (in reply to RCPT TO command)`;
    return check(
      t,
      "remote",
      "bounce",
      [{ recipient: "x@s1.test", reason, diagnostic: ["smtp", said], mta: "127.0.0.1" }],
      flush(),
    );
  });
  await t.test("threaded", (t) =>
    check(t, "threaded", "bounce", [UNKNOWN], flush(), "enable_threaded_bounces = yes"),
  );
  await t.test("without SMTPUTF8", (t) =>
    check(
      t,
      "obsolete-noutf8",
      "bounce",
      [UNKNOWN],
      flush(),
      "smtputf8_enable = no\nheader_from_format = obsolete",
    ),
  );
  store("news@example.com");
  await t.test("copy for the postmaster", (t) =>
    check(
      t,
      "postmaster-copy",
      "bounce",
      [UNKNOWN],
      flush({ sender: "news@example.com" }),
      "notify_classes = bounce",
    ),
  );
  await t.test("delay", (t) =>
    check(
      t,
      "delay-postmaster",
      "defer",
      [{ recipient: "x@ret.example", status: "4.2.1", action: "delayed", reason: "come back" }],
      encode(BounceWarn, { ...about, sender: "news@example.com" }),
      "notify_classes = delay",
    ),
  );
  t.ok(existsSync(instance.path("queue/defer/Q/QUEUEID")), "the log stays");
  store("games@example.com");
  await t.test("VERP", (t) =>
    check(
      t,
      "verp",
      "bounce",
      [UNKNOWN, { recipient: "nosuch2@example.com", reason: 'unknown user: "nosuch2"' }],
      encode(BounceVerp, { ...about, verpDelimiters: "+=" }),
    ),
  );
  t.equal(envelope(instance.posted.at(-1)), "S <> R <games+nosuch2=example.com@example.com>");
  await t.test("success", async (t) => {
    const entries: Recipient[] = [
      {
        recipient: "news@example.com",
        status: "2.0.0",
        action: "delivered",
        reason: "delivery via local: delivered to mailbox",
      },
      {
        recipient: "totwo@example.com",
        status: "2.0.0",
        action: "expanded",
        reason: "delivery via local: alias expanded",
      },
    ];
    bounce.configure("");
    const { posted } = await bounce.notice("trace", entries, encode(BounceTrace, { ...about }));
    t.equal(
      content(posted[0]),
      messages("success").find((message) => message.includes("Subject: Successful")),
    );
  });
  await t.test("international address", (t) => {
    instance.store(
      "QUEUEID",
      "games@example.com",
      ["x@example.com"],
      ["Received: by test.example (Postfix)", "Subject: \u00c3\u00a9", ...ORIGINAL.slice(1)],
    );
    const recipient = "j\u00c3\u00b6@example.com";
    return check(
      t,
      "smtputf8",
      "bounce",
      [{ recipient, orcpt: `utf-8;${recipient}`, reason: 'unknown user: "j\u00c3\u00b6"' }],
      flush({ sendopts: 1 }),
    );
  });
});

t.test("who gets what", async (t) => {
  const bounce = new Bounce(t);
  const { instance } = bounce;
  await instance.fakeCleanup();
  instance.store("QUEUEID", "", ["x@example.com"], ORIGINAL);
  const flush = (sender: string): string => encode(BounceFlush, { ...about, sender });

  await t.test("nobody hears of an undeliverable notice", async (t) => {
    const { status, posted } = await bounce.notice("bounce", [UNKNOWN], flush(""));
    t.equal(status, 0);
    t.same(posted, []);
  });
  await t.test("but the postmaster, if wanted", async (t) => {
    bounce.configure("notify_classes = 2bounce");
    const { posted } = await bounce.notice("bounce", [UNKNOWN], flush(""));
    t.equal(envelope(posted[0]), "S <double-bounce@mail.example.com> R <postmaster>");
    t.match(content(posted[0]), "Content-Type: message/rfc822");
  });
  await t.test("a double bounce ends here", async (t) => {
    const { posted, log } = await bounce.notice("bounce", [UNKNOWN], flush("Double-Bounce@mail.example.com"));
    t.same(posted, []);
    t.same(log, ["warning: QUEUEID: undeliverable postmaster notification discarded"]);
  });
  await t.test("NOTIFY=NEVER: a notice is opened and cancelled", async (t) => {
    bounce.configure("");
    const { status, posted, log } = await bounce.notice(
      "bounce",
      [{ ...UNKNOWN, notify: 1 }],
      flush("games@example.com"),
    );
    t.equal(status, 0);
    t.equal(posted[0]?.complete, false);
    t.match(log[0] ?? "", /^QUEUEID: sender non-delivery notification: CLEANUP\d+$/);
  });
  await t.test("one recipient at once, to whom the request says", async (t) => {
    const before = instance.posted.length;
    const { status } = await bounce.ask(
      "bounce",
      encode(BounceOne, {
        ...about,
        sender: "owner@example.com",
        ...recipientOf(UNKNOWN),
        ...statusOf(UNKNOWN),
      }),
    );
    t.equal(status, 0);
    t.equal(envelope(instance.posted[before]), "S <> R <owner@example.com>");
    const wrong = await bounce.ask(
      "defer",
      encode(BounceOne, { ...about, ...recipientOf(UNKNOWN), ...statusOf(UNKNOWN) }),
    );
    t.equal(wrong.status, -1);
    t.same(wrong.log, ['warning: wrong service name "defer" for one-recipient bouncing']);
  });
  await t.test("recipients are marked done after an expiry", async (t) => {
    const message = instance.store("QUEUEID", "games@example.com", ["nosuchuser@example.com"], ORIGINAL);
    await bounce.ask(
      "defer",
      encode(BounceAppend, {
        flags: 0,
        queueId: "QUEUEID",
        ...recipientOf(UNKNOWN),
        ...statusOf(UNKNOWN),
        offset: message.recipients[0] ?? 0,
      }),
    );
    await bounce.ask("defer", encode(BounceFlush, { ...about, flags: BOUNCE_FLAG.deleteRecipients }));
    t.equal(
      String.fromCharCode(
        readFileSync(instance.path("queue/active/QUEUEID"))[message.recipients[0] ?? 0] ?? 0,
      ),
      "D",
    );
  });
});

t.test("requests that make no sense", async (t) => {
  const bounce = new Bounce(t);
  const answer = async (request: string) => {
    const { status, log } = await bounce.ask("bounce", request);
    return [status, ...log];
  };
  t.same(await answer("nrequest\x007\0\0"), [-1, "warning: unknown command: 7"]);
  t.same(await answer(encode(BounceFlush, { ...about, queueId: "../x" })), [
    -1,
    "warning: malformed queue id: ../x",
  ]);
  t.same(await answer(encode(BounceFlush, { ...about, queueName: "a/b" })), [
    -1,
    "warning: malformed queue name: a/b",
  ]);
  t.same(await answer(encode(BounceVerp, { ...about, verpDelimiters: "x" })), [
    -1,
    "warning: malformed verp delimiter string: x",
  ]);
  t.same(await answer("nrequest\x000\0flags\x000\0\0"), [
    -1,
    "warning: missing attribute queue_id in input from standard input",
    "warning: malformed request",
  ]);
  const dirty = encode(BounceAppend, {
    flags: 0,
    queueId: "DIRTY",
    ...recipientOf({ ...UNKNOWN, reason: "a\nrecipient=evil\u0007" }),
    ...statusOf({ ...UNKNOWN, reason: "a\nrecipient=evil\u0007" }),
  });
  t.same(await answer(dirty), [0]);
  t.match(readFileSync(bounce.instance.path("queue/bounce/DIRTY"), "latin1"), "\nreason=a?recipient=evil?\n");
});
