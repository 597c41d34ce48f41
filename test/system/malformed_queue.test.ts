/** Files in the queue directories that somebody broke: maildrop, messages, and the logs of bounces. Log lines as seen on a real Postfix. */
import { execFileSync } from "node:child_process";
import { existsSync, linkSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { logged, NEEDS_ROOT, queueFiles, runningInstance, until } from "./support/harness.ts";
import { bytes, crashes, damaged, randomBytes, randomSource, stillWorks } from "./support/hostile.ts";
import { damagedQueueFiles, idOf, plant, queueFile, record } from "./support/queue_damage.ts";

const settled = (instance: Parameters<typeof queueFiles>[0]): Promise<boolean> =>
  until("an empty queue", () =>
    ["incoming", "active"].every((queue) => queueFiles(instance, queue).length === 0),
  );

t.test("messages that are damaged go to corrupt, with Postfix's log lines", async (t) => {
  const instance = await runningInstance(t);
  await until("the queue", () => existsSync(join(instance.queue, "active")));
  const files = damagedQueueFiles(100);
  for (const [index, content] of files.entries())
    plant(instance, index % 2 === 0 ? "incoming" : "deferred", idOf(index), content);
  instance.must("postkick", ["public", "qmgr", "ID"]);
  const expected: ReadonlyArray<readonly [number, string]> = [
    [0, "message rejected: missing end record"],
    [3, "message rejected: missing end record"],
    [6, "message rejected: missing end record"],
    [8, "message rejected: missing arrival time record"],
    [9, "message rejected: missing sender record"],
    [12, "message rejected: missing end record"],
    [13, "bad attribute record: missing '=' after attribute name: no equals sign"],
  ];
  for (const [index, text] of expected)
    await logged(instance, new RegExp(`qmgr\\[\\d+\\]: warning: ${idOf(index)}: ${text}`));
  await logged(
    instance,
    new RegExp(
      `qmgr\\[\\d+\\]: warning: active/${idOf(1)}: unexpected EOF in data, record type 103 length 97`,
    ),
  );
  await settled(instance);
  const corrupt = new Set(queueFiles(instance, "corrupt"));
  for (const index of [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13]) {
    t.ok(corrupt.has(idOf(index)), `file ${index} is in corrupt`);
    t.match(
      instance.maillog(),
      `saving corrupt file "${idOf(index)}" from queue "active" to queue "corrupt"`,
    );
  }
  const log = instance.maillog();
  const lost = files
    .map((_, index) => idOf(index))
    .filter(
      (id) =>
        !corrupt.has(id) &&
        queueFiles(instance, "deferred").indexOf(id) < 0 &&
        !log.includes(`${id}: removed`),
    );
  t.same(lost, [], "each file is in corrupt, deferred, or done with");
  await stillWorks(t, instance);
});

t.test("bounce logs that are damaged do not stop the notice", async (t) => {
  const instance = await runningInstance(t, {
    mainCf: "transport_maps = inline:{ { gone.test = error:5.1.1 gone } }\nrelay_domains = gone.test\n",
  });
  await until("the queue", () => existsSync(join(instance.queue, "active")));
  const random = randomSource(5);
  const log = bytes(
    "<old@gone.test>: old style\n\nrecipient=earlier@gone.test\noffset=200\nstatus=5.1.1\naction=failed\nreason=gone\n\n",
  );
  const sender = `${instance.who.recipient}@localhost`;
  const broken = [
    Buffer.alloc(0),
    randomBytes(2000, random),
    Buffer.alloc(500),
    bytes(`recipient=${"x".repeat(100_000)}\n`),
    bytes("\n\n\n"),
    bytes("offset=99999999999999999999\nrecipient=\nstatus=x\n\n"),
    ...Array.from({ length: 10 }, () => damaged(log, random)),
  ];
  broken.forEach((content, index) => {
    plant(instance, "bounce", idOf(index), content, 0o600);
    const message = queueFile((records) => {
      for (const entry of records) {
        if (entry[0] === "S") entry[1] = sender;
        if (entry[0] === "R") entry[1] = `someone${index}@gone.test`;
      }
    });
    plant(instance, "incoming", idOf(index), message);
  });
  instance.must("postkick", ["public", "qmgr", "I"]);
  for (const index of broken.keys())
    await logged(
      instance,
      new RegExp(`bounce\\[\\d+\\]: ${idOf(index)}: sender non-delivery notification: `),
    );
  await settled(instance);
  const mailbox = readFileSync(join(instance.mail, instance.who.recipient), "latin1");
  for (const index of broken.keys())
    t.match(mailbox, `<someone${index}@gone.test>`, `the notice of ${index} is whole`);
  t.same(queueFiles(instance, "bounce"), []);
  await stillWorks(t, instance);
});

t.test("QUE-07 what is no message in maildrop does no harm", NEEDS_ROOT, async (t) => {
  const instance = await runningInstance(t);
  const maildrop = join(instance.queue, "maildrop");
  await until("maildrop", () => existsSync(maildrop));
  const random = randomSource(9);
  const recipient = `${instance.who.recipient}@localhost`;
  const good = Buffer.concat([
    record("T", "1795340000 1"),
    record("S", "games"),
    record("R", recipient),
    record("M", ""),
    record("N", "Subject: by hand"),
    record("X", ""),
    record("E", ""),
  ]);
  const games = ["-u", "-g"].map((flag) => execFileSync("id", [flag, "games"]).toString().trim()).join(":");
  const secret = join(instance.directory, "secret");
  writeFileSync(secret, Buffer.concat([good.subarray(0, 0), good]), { mode: 0o600 });
  const put = (name: string, content: Buffer, mode = "0744", owner = games): void => {
    const path = join(maildrop, `.${name}.new`);
    writeFileSync(path, content);
    execFileSync("chown", [owner, path]);
    execFileSync("chmod", [mode, path]);
    execFileSync("mv", [path, join(maildrop, name)]);
  };
  // what is in the way stays in the way, or goes; none of it becomes a message
  mkdirSync(join(maildrop, idOf(900)));
  execFileSync("mkfifo", ["-m", "777", join(maildrop, idOf(901))]);
  symlinkSync(secret, join(maildrop, idOf(902)));
  put("twice", good, "0644");
  linkSync(join(maildrop, "twice"), join(instance.directory, "second"));
  execFileSync("mv", [join(maildrop, "twice"), join(maildrop, idOf(903))]);
  execFileSync("chmod", ["0744", join(maildrop, idOf(903))]);
  linkSync(secret, join(maildrop, idOf(904)));
  execFileSync("chmod", ["0744", secret]);
  put(idOf(905), good, "0644");
  put("no queue id!", good);
  put("..x", good);
  put(idOf(906), Buffer.alloc(0));
  put(idOf(907), bytes("garbage that is no record"));
  put(
    idOf(908),
    Buffer.concat([
      record("T", "1 1"),
      record("R", recipient),
      record("M", ""),
      record("X", ""),
      record("E", ""),
    ]),
  );
  put(idOf(909), good.subarray(0, good.length - 2));
  put(
    idOf(910),
    Buffer.concat([
      record("S", "games"),
      record("R", recipient),
      record("C", "1 2 3"),
      record("A", "trace_flags=999999"),
      record("p", "000000000000001"),
      good,
    ]),
  );
  put(idOf(911), randomBytes(30_000, random));
  for (let index = 0; index < 60; index++) put(idOf(index), damaged(good, random));
  put(idOf(999), good);
  instance.must("postkick", ["public", "pickup", "W"]);
  await logged(instance, /pickup\[\d+\]: [0-9A-F]+: uid=5 from=<games>/);
  await logged(
    instance,
    new RegExp(
      `pickup\\[\\d+\\]: warning: maildrop/${idOf(907)}: unexpected EOF in data, record type 103 length 97`,
    ),
  );
  await logged(instance, /pickup\[\d+\]: warning: uid=5: unexpected or malformed record type -2/);
  await logged(instance, /pickup\[\d+\]: warning: [0-9A-F]+: uid=5: no envelope sender/);
  await until("the good one", () => {
    const mailbox = join(instance.mail, instance.who.recipient);
    return existsSync(mailbox) && readFileSync(mailbox, "latin1").includes("Subject: by hand");
  });
  await settled(instance);
  t.ok(existsSync(secret), "a file that was linked to is still there");
  t.ok(existsSync(join(instance.directory, "second")));
  t.ok(existsSync(join(maildrop, idOf(905))), "a file that is not complete waits");
  t.notMatch(instance.maillog(), /uid=0 from/, "no file of root's was sent");
  await stillWorks(t, instance);
  // whoever submits needs no set-gid program where everybody may write
  const sendmail = [
    "--reuid=games",
    "--regid=games",
    "--clear-groups",
    "env",
    "-i",
    `MAIL_CONFIG=${instance.config}`,
    instance.program("sendmail"),
    recipient,
  ];
  execFileSync("setpriv", sendmail, { input: "Subject: by an ordinary user\n\n" });
  await until("the user's message", () =>
    readFileSync(join(instance.mail, instance.who.recipient), "latin1").includes(
      "Subject: by an ordinary user",
    ),
  );
  t.same(crashes(instance), []);
});
