/** Known faults of header processing, local delivery and notices that need no other system to compare with. */
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import t from "tap";
import type { Instance } from "../../packaging/instance.ts";
import { sendMail } from "../../packaging/smtp_hello.ts";
import {
  daemons,
  logged,
  NEEDS_ROOT,
  queueFiles,
  runningInstance,
  until,
} from "../system/support/harness.ts";

t.setTimeout(180_000);

const read = (instance: Instance, name: string): string => {
  const path = join(instance.mail, name);
  return existsSync(path) ? readFileSync(path, "latin1") : "";
};
const take = (instance: Instance, name: string): string => {
  const text = read(instance, name);
  rmSync(join(instance.mail, name), { force: true });
  return text;
};
const idle = (instance: Instance): Promise<true> =>
  until(
    "an idle queue",
    () =>
      ["maildrop", "incoming", "active"].every((queue) => queueFiles(instance, queue).length === 0) ||
      undefined,
  );
const sendmail = (instance: Instance, to: string, text: string, ...args: string[]): string =>
  instance.must("sendmail", [...args, "-f", "nobody@localhost", to], Buffer.from(text, "latin1"));

t.test("mail that is meant to do harm", NEEDS_ROOT, async (t) => {
  const instance = await runningInstance(t, {
    mainCf: (
      dir,
    ) => `alias_maps = inline:{ { fds = "|ls -l /proc/self/fd > ${dir}/mail/fds" } { box = ${dir}/mail/box } { boxdir = ${dir}/mail/boxdir/ } { catpipe = "|cat > ${dir}/mail/pipe" } { __proto__ = games } { constructor = games } { then = games } { noisy = "|printf '\\\\033[2J--boundary\\\\r\\\\n550 x'; exit 1" } { loud = "|yes" } }
local_recipient_maps =
recipient_delimiter = +
forward_path = ${dir}/forward/$user
header_checks = regexp:{{/^X-Refuse-Notice:/ REJECT not this}}
body_checks = regexp:{{/forbidden words/ REJECT not here}}
internal_mail_filter_classes = bounce
enable_threaded_bounces = yes
mailbox_size_limit = 60000
message_size_limit = 50000
header_size_limit = 10000
hopcount_limit = 5000
notify_classes = bounce, 2bounce, delay, resource, software
bounce_notice_recipient = games@localhost
2bounce_notice_recipient = games@localhost
default_transport = discard:far
bounce_template_file = ${dir}/bounce.cf
`,
  });
  writeFileSync(
    join(instance.directory, "bounce.cf"),
    "failure_template = <<EOF\nSubject: failure\n\ntext\nEOF\n",
  );
  mkdirSync(join(instance.directory, "forward"));

  await t.test("CLN-01 CLN-02 stray CR is a blank, a header ends at a NUL", async (t) => {
    sendmail(instance, "news@localhost", "X-Cr: a\rb\nX-Nul: a\0b\nSubject: x\n\na\rb\nc\0d\n");
    await until("delivery", () => read(instance, "news").endsWith("c\0d\n\n"));
    const text = take(instance, "news");
    t.match(text, /^X-Cr: a b$/m);
    t.match(text, /^X-Nul: a$/m);
    t.match(text, /^a b\nc\0d$/m);
  });

  await t.test(
    "CLN-05 a great many headers take time in proportion, and others are served meanwhile",
    async (t) => {
      const many = `${"To: user@x.test\r\n".repeat(2500)}\r\nbody\r\n`;
      const started = Date.now();
      await Promise.all([
        sendMail(instance.smtpPort, "a@b.test", "x@far.test", many),
        sendMail(instance.smtpPort, "a@b.test", "x@far.test", `Received: x\r\n`.repeat(3000)),
        sendMail(instance.smtpPort, "a@b.test", "x@far.test", `Delivered-To: x@y.test\r\n`.repeat(1800)),
        sendMail(instance.smtpPort, "a@b.test", "news@localhost", "Subject: quick\r\n\r\nx\r\n"),
      ]);
      await idle(instance);
      t.match(take(instance, "news"), /Subject: quick/);
      t.ok(Date.now() - started < 20_000, `${Date.now() - started} ms`);
    },
  );

  await t.test("CLN-06 a header too long loses no body", async () => {
    for (const length of [9_999, 10_000, 10_001, 30_000])
      for (const place of ["first", "last", "only"]) {
        const long = `X-Long: ${"y".repeat(length - 8)}`;
        const header =
          place === "only" ? long : place === "first" ? `${long}\nSubject: x` : `Subject: x\n${long}`;
        sendmail(instance, "news@localhost", `${header}\n\nthe body of ${place} ${length}\n`);
        await until("delivery", () =>
          read(instance, "news").includes(`\n\nthe body of ${place} ${length}\n\n`),
        );
        take(instance, "news");
      }
  });

  await t.test("CLN-11 refused content does not travel in the bounce", async (t) => {
    sendmail(instance, "x@far.test", "Subject: to be refused\n\nforbidden words and a secret\n");
    await until("the bounce", () => read(instance, "nobody").endsWith("--\n\n"));
    const text = take(instance, "nobody");
    t.match(text, /Content-Type: text\/rfc822-headers/);
    t.match(text, /Subject: to be refused/);
    t.notMatch(text, /secret/);
    await idle(instance);
    take(instance, "games");
  });

  await t.test("CLN-13 message ids and queue ids are each another's", async (t) => {
    const client = async (): Promise<void> => {
      for (let index = 0; index < 20; index++)
        await sendMail(instance.smtpPort, "a@b.test", "x@far.test", "Subject: x\r\n\r\nx\r\n");
    };
    const from = instance.maillog().length;
    await Promise.all(Array.from({ length: 6 }, client));
    await idle(instance);
    const log = instance.maillog().slice(from);
    const ids = [...log.matchAll(/message-id=<([^>]+)>/g)].map(([, id]) => id);
    t.equal(ids.length, 120);
    t.equal(new Set(ids).size, 120);
  });

  await t.test("DLV-05 a command has three descriptors", async (t) => {
    sendmail(instance, "fds@localhost", "Subject: x\n\n");
    await until("the list", () => /^total.*\n(.*\n)+/.test(read(instance, "fds")) || undefined);
    await idle(instance);
    const fds = [...take(instance, "fds").matchAll(/ (\d+) -> (\S+)/g)];
    // the fourth is the folder that ls reads
    t.same(
      fds.map(([, fd]) => fd),
      ["0", "1", "2", "3"],
    );
    t.match(fds[3]?.[2], /^\/proc\//);
  });

  await t.test("DLV-08 a command that never stops talking is ended by its closed pipe", async () => {
    sendmail(instance, "loud@localhost", "Subject: x\n\n");
    await logged(instance, /to=<loud@localhost>.*status=(deferred|bounced) \(Command died with/);
    await idle(instance);
    for (const name of ["games", "nobody"]) take(instance, name);
  });

  await t.test("DLV-13 JS-16 files of addresses are read as bytes", async (t) => {
    const forward = join(instance.directory, "forward/games");
    const put = (text: string): void => {
      writeFileSync(forward, text, "latin1");
      chownSync(forward, 5, 60);
      chmodSync(forward, 0o644);
    };
    put("\xa0news@localhost\n");
    sendmail(instance, "games@localhost", "Subject: x\n\n");
    await logged(instance, /status=bounced \(bad recipient address syntax: \?news@localhost\)/);
    t.equal(read(instance, "news"), "", "a no-break space is part of the name");
    put("news\0junk\n");
    sendmail(instance, "games@localhost", "Subject: nul\n\n");
    await until("delivery", () => read(instance, "news").includes("Subject: nul"));
    put(`${"# comment\n".repeat(300_000)}news\n`);
    sendmail(instance, "games@localhost", "Subject: long file\n\n");
    await until("delivery", () => read(instance, "news").includes("Subject: long file"));
    rmSync(forward);
    await idle(instance);
    for (const name of ["games", "news", "nobody"]) take(instance, name);
  });

  await t.test("DUR-04 a mailbox that cannot take the message is as it was", async (t) => {
    for (const size of [0, 1, 20_000, 55_000, 59_900]) {
      const before = `${"x".repeat(Math.max(0, size - 1))}${size > 0 ? "\n" : ""}`;
      writeFileSync(join(instance.mail, "uucp"), before);
      chownSync(join(instance.mail, "uucp"), 10, 10);
      const from = instance.maillog().length;
      sendmail(instance, "uucp@localhost", `Subject: x\n\n${`${"b".repeat(70)}\n`.repeat(600)}`);
      const outcome = await until(
        "the outcome",
        () => /to=<uucp@localhost>.* status=(\w+) \((.*)\)/.exec(instance.maillog().slice(from)) ?? undefined,
      );
      const after = take(instance, "uucp");
      if (size + 43_000 < 60_000) t.equal(outcome[1], "sent");
      else {
        t.match(
          outcome[0],
          /dsn=5\.2\.2, status=bounced \(cannot update mailbox .* error writing message: File too large\)/,
        );
        t.equal(after, before);
      }
      t.notOk(existsSync(join(instance.mail, "uucp.lock")));
    }
    await idle(instance);
    for (const name of ["games", "nobody"]) take(instance, name);
  });

  await t.test("QMG-13 notices about notices come to an end", async (t) => {
    const from = instance.maillog().length;
    for (const sender of ["<>", "double-bounce@mail.posthaste.test", "nosuch@localhost"]) {
      instance.must("sendmail", ["-f", sender, "nosuchuser@localhost"], "Subject: x\n\n");
      await idle(instance);
    }
    const made = [
      ...instance
        .maillog()
        .slice(from)
        .matchAll(/notification: /g),
    ].length;
    t.ok(made <= 6, `${made} notices of three messages`);
    for (const name of ["games", "nobody"]) take(instance, name);
  });

  await t.test("QMG-14 what a command says cannot break the report", async (t) => {
    sendmail(instance, "noisy@localhost", "Subject: x\n\n--boundary--\n");
    await until("the bounce", () => read(instance, "nobody").endsWith("--\n\n"));
    const text = take(instance, "nobody");
    const boundary = /boundary="([^"]+)"/.exec(text)?.[1] ?? "";
    t.equal(text.split(`\n--${boundary}`).length, 5, "three parts and the end");
    t.notMatch(text, /[\x00-\x08\x0b-\x1f]/);
    t.match(text, /Diagnostic-Code: x-unix; _\[2J--boundary_ 550 x/);
    await idle(instance);
    take(instance, "games");
  });

  await t.test("QMG-16 a notice that is refused is heard of, and nothing is lost", async (t) => {
    const before = queueFiles(instance, "deferred").length;
    writeFileSync(
      join(instance.directory, "bounce.cf"),
      "failure_template = <<EOF\nFrom: x\nSubject: x\n\ntext\nEOF\n",
    );
    instance.must("postconf", ["-e", "header_checks = regexp:{{/^Auto-Submitted:/ REJECT not this}}"]);
    instance.must("postfix", ["reload"]);
    await logged(instance, /reload -- version/);
    sendmail(instance, "nosuchuser@localhost", "Subject: keep me\n\n");
    const [, id = ""] = await logged(
      instance,
      /warning: ([0-9A-F]+): sender notification failed to nobody@localhost: 5\.7\.1 not this/,
    );
    await until("the message in the deferred queue", () => queueFiles(instance, "deferred").length > before);
    t.match(instance.must("postcat", ["-q", id]), /Subject: keep me/);
    instance.must("postconf", ["-X", "header_checks"]);
    const reloads = instance.maillog().split("reload --").length;
    instance.must("postfix", ["reload"]);
    await until("reload", () => instance.maillog().split("reload --").length > reloads);
    instance.must("postsuper", ["-d", "ALL"]);
  });

  await t.test("QMG-17 threaded notices have one line of reference", async (t) => {
    for (const [index, id] of [
      "<a@b>",
      "\n <folded\n @id>",
      "<a@b> <c@d>",
      `<${"x".repeat(5000)}@y>`,
      "",
      "no brackets",
      "<a\rb@c>",
    ].entries()) {
      sendmail(instance, "nosuchuser@localhost", `Message-Id: ${id}\nSubject: number ${index}\n\n`);
      await until(
        "the bounce",
        () =>
          read(instance, "nobody").includes(`Subject: number ${index}`) &&
          read(instance, "nobody").endsWith("--\n\n"),
      );
      const [header = ""] = take(instance, "nobody").split("\n\n", 1);
      const references = header.split("\n").filter((line) => /^(References|In-Reply-To): /.test(line));
      t.ok(references.length === 0 || references.length === 2, `${index}: ${references.length}`);
      for (const line of references) t.match(line, /^[^:]+: <[^<>\r\n]*>$/);
    }
    await idle(instance);
    take(instance, "games");
  });

  await t.test("JS-01 names of the language are names of users", async () => {
    for (const name of ["__proto__", "constructor", "then"]) {
      sendmail(instance, `${name}@localhost`, `Subject: to ${name}\n\n`);
      await until("delivery", () => read(instance, "games").includes(`Subject: to ${name}`));
    }
    for (const name of ["toString", "hasOwnProperty", "length", "valueOf"]) {
      sendmail(instance, `${name}+__proto__@localhost`, "Subject: x\n\n");
      await logged(
        instance,
        new RegExp(`to=<${name}\\+__proto__@localhost>.*unknown user: "${name.toLowerCase()}"`),
      );
    }
    await idle(instance);
    for (const name of ["games", "nobody"]) take(instance, name);
  });

  await t.test("JS-07 JS-08 every byte of a body arrives", async (t) => {
    const bytes = Array.from({ length: 256 }, (_, code) =>
      code === 10 || code === 13 ? "" : String.fromCharCode(code),
    ).join("");
    const tricky = "\xc4\x8a\xc4\x8d\xe2\x80\xa8\xef\xbb\xbf\xed\xa0\x80\xf0\x9f\x98\x8a";
    const body = `\xef\xbb\xbf${bytes}\n${tricky}\n${bytes}${bytes}\n`;
    for (const to of ["box", "boxdir", "catpipe"])
      sendmail(instance, `${to}@localhost`, `Subject: bytes\n\n${body}`);
    await until(
      "delivery",
      () =>
        read(instance, "box").endsWith("\n\n") &&
        read(instance, "pipe").endsWith(body) &&
        existsSync(join(instance.mail, "boxdir/new")),
    );
    await idle(instance);
    const [maildir = ""] = readdirSync(join(instance.mail, "boxdir/new"));
    t.ok(take(instance, "box").endsWith(`\n\n${body}\n`));
    t.ok(take(instance, "pipe").endsWith(`\n\n${body}`));
    t.ok(read(instance, `boxdir/new/${maildir}`).endsWith(`\n\n${body}`));
  });

  t.ok(daemons(instance, "qmgr").length === 1, "the queue manager is alive");
  t.same(queueFiles(instance, "corrupt"), []);
});
