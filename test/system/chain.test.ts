/** The whole chain: submission by SMTP and by sendmail into mbox, Maildir, aliases, virtual mailboxes, bounces. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { sendMail } from "../../packaging/smtp_hello.ts";
import { logged, PROGRAMS, queueFiles, runningInstance, troubles, until } from "./support/harness.ts";

const message = (subject: string): string =>
  `From: a@posthaste.test\r\nTo: b@posthaste.test\r\nSubject: ${subject}\r\n\r\n.leading dot\r\nlast line\r\n`;

for (const layout of ["multicall", "separate"] as const)
  t.test(`mail by SMTP and by sendmail reaches the mailbox (${layout} layout)`, async (t) => {
    const instance = await runningInstance(t, { programs: PROGRAMS[layout] });
    const to = `${instance.who.recipient}@localhost`;
    const reply = await sendMail(instance.smtpPort, "sender@example.org", to, message("one by SMTP"));
    t.match(reply, /^250 2\.0\.0 Ok: queued as [0-9A-F]+$/);
    instance.must(
      "sendmail",
      ["-f", "sender@example.org", to],
      "Subject: one by sendmail\n\n.leading dot\nlast line\n",
    );
    const mailbox = join(instance.mail, instance.who.recipient);
    const text = await until("both messages", () => {
      const content = existsSync(mailbox) ? readFileSync(mailbox, "latin1") : "";
      return content.includes("one by SMTP") && content.includes("one by sendmail") ? content : undefined;
    });
    t.match(text, /^From sender@example\.org {2}[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}\n/);
    t.equal(text.match(/\n\.leading dot\nlast line\n\n/g)?.length, 2, "both bodies are whole");
    t.match(
      text,
      new RegExp(
        `\nReturn-Path: <sender@example.org>\nX-Original-To: ${to}\nDelivered-To: ${to}\nReceived: from client`,
      ),
    );
    await until(
      "an empty queue",
      () => queueFiles(instance, "active").length === 0 && queueFiles(instance, "incoming").length === 0,
    );
    t.equal(instance.must("mailq").trim(), "Mail queue is empty");
    t.same(troubles(instance), [], "nothing went wrong");
  });

t.test("Maildir, alias, virtual alias, virtual mailbox", async (t) => {
  const owner = process.getuid?.() === 0 ? 65534 : process.getuid?.();
  const instance = await runningInstance(t, {
    mainCf: (directory) => `
virtual_alias_domains = valias.test
virtual_alias_maps = inline:{ { info@valias.test = you@vbox.test postmaster@localhost } }
virtual_mailbox_domains = vbox.test
virtual_mailbox_base = ${directory}/mail
virtual_mailbox_maps = inline:{ { you@vbox.test = vbox/ } { mbox@vbox.test = vmbox } }
virtual_uid_maps = static:${owner}
virtual_gid_maps = static:${process.getuid?.() === 0 ? 65534 : process.getgid?.()}
virtual_minimum_uid = 1
`,
  });
  await sendMail(
    instance.smtpPort,
    "sender@example.org",
    ["info@valias.test", "mbox@vbox.test"],
    message("expanded"),
  );
  const maildir = join(instance.mail, "vbox", "new");
  await until("Maildir delivery", () => existsSync(maildir) && readdirSync(maildir).length === 1);
  const [file] = readdirSync(maildir);
  const text = readFileSync(join(maildir, file ?? ""), "latin1");
  t.match(
    text,
    /^Return-Path: <sender@example\.org>\nX-Original-To: info@valias\.test\nDelivered-To: you@vbox\.test\n/,
  );
  await until("alias delivery", () => existsSync(join(instance.mail, instance.who.recipient)));
  await until("virtual mbox delivery", () => existsSync(join(instance.mail, "vmbox")));
  await logged(instance, /orig_to=<info@valias\.test>, relay=local, .*status=sent/);
  await until("an empty queue", () => instance.must("mailq").startsWith("Mail queue is empty"));
  t.same(troubles(instance), []);
});

t.test("an unknown user is refused at RCPT, and bounced when it comes by sendmail", async (t) => {
  const instance = await runningInstance(t);
  await t.rejects(sendMail(instance.smtpPort, "sender@example.org", "nosuchuser@localhost", message("x")), {
    message:
      /550 5\.1\.1 <nosuchuser@localhost>: Recipient address rejected: User unknown in local recipient table/,
  });
  const sender = `${instance.who.recipient}@localhost`;
  instance.must("sendmail", ["-f", sender, "nosuchuser@localhost"], "Subject: to nobody\n\nbody\n");
  await logged(
    instance,
    /to=<nosuchuser@localhost>, relay=local, delay=[\d.]+, delays=[\d./]+, dsn=5\.1\.1, status=bounced \(unknown user: "nosuchuser"\)/,
  );
  const mailbox = join(instance.mail, instance.who.recipient);
  // an empty mailbox is one that is being made
  const text = await until("the bounce", () =>
    existsSync(mailbox) ? readFileSync(mailbox, "latin1") || undefined : undefined,
  );
  t.match(text, /\nSubject: Undelivered Mail Returned to Sender\n/);
  t.match(text, /\nContent-Type: multipart\/report; report-type=delivery-status;/);
  t.match(text, /\nFinal-Recipient: rfc822; nosuchuser@localhost\n/);
  t.match(text, /\nAction: failed\nStatus: 5\.1\.1\n/);
  t.match(text, /\nSubject: to nobody\n/);
});
