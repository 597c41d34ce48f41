/** Mail that cannot be delivered: log lines, retry times, warnings, bounces, and the commands that act on such mail. */
import { existsSync, readFileSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Instance } from "../../packaging/instance.ts";
import { sendMail } from "../../packaging/smtp_hello.ts";
import { freePort, logged, queueFiles, runningInstance, troubles, until } from "./support/harness.ts";
import { fileOf, findFile, makeOlder, untilRetry, warnAt } from "./support/queue_files.ts";

const REFUSED = String.raw`connect to 127\.0\.0\.1\[127\.0\.0\.1\]:\d+: Connection refused`;

interface Setup {
  readonly instance: Instance;
  readonly sender: string;
  readonly mailbox: () => string;
}

/** An instance in which dead.test leads to a port where nobody listens. */
async function withDeadHost(t: Test, mainCf = ""): Promise<Setup> {
  const port = await freePort();
  const instance = await runningInstance(t, {
    mainCf: `transport_maps = inline:{ { dead.test = smtp:[127.0.0.1]:${port} } }
fast_flush_domains = dead.test
delay_warning_time = 1h
${mainCf}`,
  });
  const file = join(instance.mail, instance.who.recipient);
  return {
    instance,
    sender: `${instance.who.recipient}@localhost`,
    mailbox: () => (existsSync(file) ? readFileSync(file, "latin1") : ""),
  };
}

/** Sends to recipients of the dead host and waits until the message is deferred; its queue ID. */
async function defer({ instance, sender }: Setup, recipient = "x@dead.test"): Promise<string> {
  instance.must("sendmail", ["-f", sender, recipient], `Subject: to ${recipient}\n\nbody of ${recipient}\n`);
  const [, id = ""] = await logged(
    instance,
    new RegExp(`: (\\w+): to=<${recipient}>, relay=none, .*status=deferred`),
  );
  await until("the deferred queue", () => findFile(instance, "deferred", id));
  return id;
}

/** Lines of the log about one message from one program. */
const linesOf = (instance: Instance, program: string, id: string): string[] =>
  instance
    .maillog()
    .split("\n")
    .filter((line) => line.includes(`/${program}[`) && line.includes(`]: ${id}: `));

/** Tries a deferred message again and waits until it is deferred once more. */
async function retry(
  instance: Instance,
  id: string,
  args: ReadonlyArray<string> = ["-i", id],
): Promise<void> {
  const before = linesOf(instance, "smtp", id).length;
  instance.must("postqueue", args);
  await until(`the next attempt of ${id}`, () => linesOf(instance, "smtp", id).length > before);
  await until("the deferred queue", () => findFile(instance, "deferred", id));
}

t.test("a dead host: the log line, and retry times that double with the age of the message", async (t) => {
  const setup = await withDeadHost(t);
  const { instance } = setup;
  const id = await defer(setup);
  t.match(
    linesOf(instance, "smtp", id)[0],
    new RegExp(
      String.raw`: to=<x@dead\.test>, relay=none, delay=[\d.]+, delays=[\d.]+/[\d.]+/0/[\d.]+(?:, tls=\S+)?, dsn=4\.4\.1, status=deferred \(${REFUSED}\)$`,
    ),
  );
  t.match(
    linesOf(instance, "qmgr", id)[0],
    new RegExp(String.raw`: from=<${setup.sender}>, size=\d+, nrcpt=1 \(queue active\)$`),
  );
  const path = fileOf(instance, "deferred", id);
  t.equal(statSync(path).mode & 0o7777, 0o700);
  // minimal_backoff_time at least, the age of the message in between, maximal_backoff_time at most
  for (const [age, backoff] of [
    [0, 300],
    [1000, 1000],
    [2600, 2600],
    [50_000, 4000],
  ] as const) {
    if (age > 0) {
      makeOlder(path, age);
      await retry(instance, id);
    }
    const wait = untilRetry(path);
    t.ok(Math.abs(wait - backoff) < 8, `${age} s old: next attempt in ${backoff} s (${wait.toFixed(1)})`);
    t.equal(statSync(path).atimeMs, statSync(path).mtimeMs, "both times are set");
  }
  t.notOk(linesOf(instance, "qmgr", id).some((line) => line.endsWith(": removed")));
  t.same(troubles(instance), []);
});

t.test("mail to a destination known as dead is not tried, and says why", async (t) => {
  // with a window of one, the first failure is enough
  const setup = await withDeadHost(t, "initial_destination_concurrency = 1\n");
  const first = await defer(setup);
  const second = await defer(setup, "y@dead.test");
  t.match(
    linesOf(setup.instance, "error", second)[0] ?? linesOf(setup.instance, "retry", second)[0],
    new RegExp(String.raw`dsn=4\.4\.1, status=deferred \(delivery temporarily suspended: ${REFUSED}\)$`),
  );
  t.ok(findFile(setup.instance, "deferred", first), "the first one waits");
  const tried = (): number => [first, second].flatMap((id) => linesOf(setup.instance, "smtp", id)).length;
  t.equal(setup.instance.run("postqueue", ["-f"]).status, 0);
  await until("one of them to be tried", () => tried() > 1);
});

t.test("delay warning, then expiry", async (t) => {
  const setup = await withDeadHost(t);
  const { instance, mailbox } = setup;
  const id = await defer(setup);
  const path = fileOf(instance, "deferred", id);
  warnAt(path, Math.floor(Date.now() / 1000) - 1);
  await retry(instance, id);
  await logged(instance, new RegExp(`/bounce\\[\\d+\\]: ${id}: sender delay notification: \\w+`));
  await until("the warning", () => mailbox().includes("Subject: Delayed Mail (still being retried)"));
  t.match(mailbox(), /\nAction: delayed\nStatus: 4\.4\.1\n/);
  t.match(mailbox(), /\nWill-Retry-Until: /);
  t.match(mailbox(), new RegExp(`Diagnostic-Code: X-Postfix; ${REFUSED}`.replace("refused", "refused|\\s")));
  t.match(
    instance.must("postcat", ["-q", id]),
    /\nwarning_message_time: Wed Dec 31 23:59:59 1969\n/,
    "one warning and no more",
  );
  await retry(instance, id);
  t.equal(mailbox().match(/Subject: Delayed Mail/g)?.length, 1);

  makeOlder(path, 5 * 86_400 + 10);
  instance.must("postqueue", ["-i", id]);
  await logged(
    instance,
    new RegExp(`/qmgr\\[\\d+\\]: ${id}: from=<${setup.sender}>, status=expired, returned to sender`),
  );
  await logged(instance, new RegExp(`/bounce\\[\\d+\\]: ${id}: sender non-delivery notification: \\w+`));
  await logged(instance, new RegExp(`/qmgr\\[\\d+\\]: ${id}: removed`));
  await until("the bounce", () => mailbox().includes("Subject: Undelivered Mail Returned to Sender"));
  t.match(mailbox(), /\nFinal-Recipient: rfc822; x@dead\.test\n/);
  t.match(mailbox(), /\nAction: failed\nStatus: 4\.4\.1\n/);
  t.match(mailbox(), /\nbody of x@dead\.test\n/);
  await until("an empty queue", () => instance.must("mailq").startsWith("Mail queue is empty"));
  t.same(queueFiles(instance, "defer"), [], "no log is left");
  t.same(troubles(instance), []);
});

t.test("short configured times do the same without help", async (t) => {
  const setup = await withDeadHost(
    t,
    `delay_warning_time = 2s
maximal_queue_lifetime = 5s
bounce_queue_lifetime = 5s
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
`,
  );
  const { instance, mailbox } = setup;
  const id = await defer(setup);
  await until("the warning", () => mailbox().includes("Subject: Delayed Mail (still being retried)"), 20);
  await logged(instance, new RegExp(`: ${id}: from=<${setup.sender}>, status=expired, returned to sender`));
  await until("the bounce", () => mailbox().includes("Subject: Undelivered Mail Returned to Sender"));
  // a bounce that cannot be delivered goes nowhere else
  const nobody = setup.instance.must(
    "sendmail",
    ["-f", "gone@dead.test", "nosuchuser@localhost"],
    "Subject: both ends are gone\n\n\n",
  );
  t.equal(nobody, "");
  const [, bounce = ""] = await logged(
    instance,
    /: sender non-delivery notification: (\w+)\n(?![\s\S]*sender non-delivery)/,
  );
  await until(
    "the end of the double bounce",
    () => new RegExp(`: ${bounce}: removed`).test(instance.maillog()),
    30,
  );
});

t.test("unknown users with soft_bounce", async (t) => {
  const { instance, sender } = await withDeadHost(t, "soft_bounce = yes\n");
  await t.rejects(sendMail(instance.smtpPort, "a@example.org", "nosuchuser@localhost", "x\r\n"), {
    message:
      /450 4\.1\.1 <nosuchuser@localhost>: Recipient address rejected: User unknown in local recipient table/,
  });
  instance.must("sendmail", ["-f", sender, "nosuchuser@localhost"], "Subject: soft\n\n\n");
  const [, id = ""] = await logged(
    instance,
    /: (\w+): to=<nosuchuser@localhost>, relay=local, .*dsn=4\.1\.1, status=SOFTBOUNCE \(unknown user: "nosuchuser"\)/,
  );
  await until("the deferred queue", () => findFile(instance, "deferred", id));
  t.match(
    instance.must("mailq"),
    /\n {21}\(unknown user: "nosuchuser"\)\n| \(unknown user: "nosuchuser"\)\n/,
  );
  t.match(readFileSync(fileOf(instance, "defer", id), "latin1"), /\nstatus=4\.1\.1\naction=delayed\n/);
});

t.test("the commands act on deferred messages", async (t) => {
  const setup = await withDeadHost(t);
  const { instance, sender, mailbox } = setup;
  const id = await defer(setup, "one@dead.test");
  const other = await defer(setup, "two@dead.test");
  const stderr = (name: string, args: ReadonlyArray<string>): string => {
    const result = instance.run(name, args);
    t.equal(result.status, 0, `${name} ${args.join(" ")}`);
    return result.stderr.toString("latin1");
  };

  const listing = instance.must("mailq");
  t.match(listing, /^-Queue ID- {2}--Size-- ----Arrival Time---- -Sender\/Recipient-------\n/);
  t.match(
    listing,
    new RegExp(
      `\n${id} {1,9}\\d{3} [A-Z][a-z]{2} [A-Z][a-z]{2} [ \\d]\\d \\d\\d:\\d\\d:\\d\\d {2}${sender}\n *\\(${REFUSED}\\)\n {41}one@dead\\.test\n`,
    ),
  );
  t.match(listing, /\n\n-- \d+ Kbytes in 2 Requests\.\n$/);
  t.equal(instance.must("postqueue", ["-p"]), listing);
  const objects = instance
    .must("postqueue", ["-j"])
    .trim()
    .split("\n")
    .map((line): Record<string, unknown> => JSON.parse(line));
  t.equal(objects.length, 2);
  t.match(
    objects.find((object) => object.queue_id === id),
    {
      queue_name: "deferred",
      message_size: Number,
      forced_expire: false,
      sender,
      recipients: [{ orig_address: "", address: "one@dead.test", delay_reason: new RegExp(`^${REFUSED}$`) }],
    },
  );

  const content = instance.must("postcat", ["-q", id]);
  t.match(
    content,
    new RegExp(`^\\*\\*\\* ENVELOPE RECORDS deferred/${id.charAt(0)}/${id} \\*\\*\\*\nmessage_size: `),
  );
  t.match(content, new RegExp(`\nsender: ${sender}\n.*recipient: one@dead\\.test\n`, "s"));
  t.match(
    content,
    /\n\*\*\* MESSAGE CONTENTS .* \*\*\*\nReceived: .*\nSubject: to one@dead\.test\n.*\n\nbody of one@dead\.test\n\*\*\* HEADER EXTRACTED /s,
  );
  t.match(content, /\n\*\*\* MESSAGE FILE END .* \*\*\*\n$/);
  t.equal(instance.run("postcat", ["-q", "0123456789A"]).status, 1);

  // by site, once both have their places in the log of the site
  const attempts = (): number =>
    linesOf(instance, "smtp", id).length + linesOf(instance, "smtp", other).length;
  const before = attempts();
  instance.must("postqueue", ["-s", "dead.test"]);
  await until("an attempt after postqueue -s", () => attempts() > before);
  t.equal(instance.run("postqueue", ["-s", "localhost"]).status, 69);
  t.match(
    instance.run("postqueue", ["-s", "localhost"]).stderr.toString(),
    /fatal: Flush service is not configured for destination "localhost"/,
  );
  for (const each of [id, other])
    await until("the deferred queue", () => findFile(instance, "deferred", each));

  t.match(
    stderr("postsuper", ["-h", id]),
    /^postsuper: \w+: placed on hold\npostsuper: Placed on hold: 1 message\n$/,
  );
  await logged(instance, new RegExp(`/postsuper\\[\\d+\\]: ${id}: placed on hold`));
  t.ok(findFile(instance, "hold", id));
  t.match(instance.must("mailq"), new RegExp(`\n${id}! `));
  instance.must("postqueue", ["-f"]);
  t.ok(findFile(instance, "hold", id), "a flush leaves it alone");
  t.match(
    stderr("postsuper", ["-H", id]),
    /^postsuper: \w+: released from hold\npostsuper: Released from hold: 1 message\n$/,
  );
  await logged(instance, new RegExp(`/postsuper\\[\\d+\\]: ${id}: released from hold`));

  await until("the deferred queue", () => findFile(instance, "deferred", id));
  await until(
    "an idle queue manager",
    () => queueFiles(instance, "active").length === 0 && queueFiles(instance, "incoming").length === 0,
  );
  t.match(stderr("postsuper", ["-r", id]), /^postsuper: \w+: requeued\npostsuper: Requeued: 1 message\n$/);
  instance.must("postkick", ["public", "pickup", "W"]);
  const [, requeued = ""] = await logged(
    instance,
    new RegExp(`/pickup\\[\\d+\\]: (\\w+): uid=\\d+ from=<${sender}> orig_id=${id}`),
  );
  await until("the requeued message to be deferred", () => findFile(instance, "deferred", requeued));
  t.match(instance.must("postcat", ["-q", requeued]), /\nrecipient: one@dead\.test\n/);

  t.match(
    stderr("postsuper", ["-e", requeued]),
    /^postsuper: \w+: expired\npostsuper: Force-expired: 1 message\n$/,
  );
  t.equal(statSync(fileOf(instance, "deferred", requeued)).mode & 0o777, 0o710);
  t.match(instance.must("mailq"), new RegExp(`\n${requeued}# `));
  t.match(instance.must("postqueue", ["-j"]), new RegExp(`"queue_id": "${requeued}".*"forced_expire": true`));
  instance.must("postqueue", ["-i", requeued]);
  await logged(
    instance,
    new RegExp(`: ${requeued}: from=<${sender}>, status=force-expired, returned to sender`),
  );
  await until("the bounce", () => mailbox().includes("Subject: Undelivered Mail Returned to Sender"));
  await logged(instance, new RegExp(`: ${requeued}: removed`));

  const deferLog = fileOf(instance, "defer", other);
  t.match(stderr("postsuper", ["-d", other]), /^postsuper: \w+: removed\npostsuper: Deleted: 1 message\n$/);
  t.notOk(existsSync(deferLog), "its log went with it");
  await until("an empty queue", () => instance.must("mailq") === "Mail queue is empty\n");
  t.equal(stderr("postsuper", ["-d", other]), "postsuper: Deleted: 0 messages\n");
  t.equal(instance.must("postqueue", ["-j"]), "");
  t.equal(
    instance.run("postsuper", ["-d", "not/an/id"]).stderr.toString(),
    "postsuper: warning: invalid mail queue id: not/an/id\npostsuper: Deleted: 0 messages\n",
  );
  t.same(
    troubles(instance).filter(
      (line) =>
        !line.includes("invalid mail queue id") &&
        !line.includes("/postqueue[") &&
        !line.includes("/postcat["),
    ),
    [],
  );
});

t.test("mass actions, and the queue without the daemons", async (t) => {
  const setup = await withDeadHost(t);
  const { instance } = setup;
  const ids = [
    await defer(setup, "a@dead.test"),
    await defer(setup, "b@dead.test"),
    await defer(setup, "c@dead.test"),
  ];
  const report = (args: ReadonlyArray<string>): string =>
    instance.run("postsuper", args).stderr.toString("latin1");
  t.equal(report(["-h", "ALL"]), "postsuper: Placed on hold: 3 messages\n");
  t.equal(queueFiles(instance, "hold").length, 3);
  t.equal(report(["-H", "ALL", "hold"]), "postsuper: Released from hold: 3 messages\n");
  const [first = "", second = ""] = ids;
  const some = instance.run("postsuper", ["-h", "-"], `${first}\n${second}\n`);
  t.match(
    some.stderr.toString(),
    /: placed on hold\n.*: placed on hold\npostsuper: Placed on hold: 2 messages\n$/s,
  );
  instance.stop();
  const direct = instance.run("mailq");
  t.equal(direct.status, 0);
  t.match(
    direct.stderr.toString(),
    /warning: Mail system is down -- accessing queue directly \(Connect to the Postfix showq service: /,
  );
  t.match(direct.stdout.toString(), /-- \d+ Kbytes in 3 Requests\.\n$/);
  const flush = instance.run("postqueue", ["-f"]);
  t.equal(flush.status, 69);
  t.match(flush.stderr.toString(), /fatal: Cannot flush mail queue - mail system is down\n$/);
  // a file whose name does not fit its inode gets a new name when the mail system starts
  const held = fileOf(instance, "hold", first);
  writeFileSync(`${held}0`, readFileSync(held), { mode: 0o700 });
  const { uid, gid } = statSync(held);
  (await import("node:fs")).chownSync(`${held}0`, uid, gid);
  utimesSync(`${held}0`, 1_000_000_000, 1_000_000_000);
  instance.start();
  const inode = statSync(
    queueFiles(instance, "hold")
      .map((name) => fileOf(instance, "hold", name))
      .find((path) => statSync(path).mtimeMs === 1e12) ?? "",
  ).ino;
  t.ok(
    findFile(instance, "hold", `${first.slice(0, 5)}${inode.toString(16).toUpperCase()}`),
    "the file was renamed",
  );
  t.match(instance.maillog(), /Renamed to match inode number: 1 message\n/);
  const deleted = report(["-d", "ALL"]);
  t.equal(deleted, "postsuper: Deleted: 4 messages\n");
  t.equal(instance.must("mailq"), "Mail queue is empty\n");
  t.equal(instance.must("postqueue", ["-i", first]), "", "no such message: no error");
});
