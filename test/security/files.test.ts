/** Files in places where somebody else can write, opened by programs that run as root. */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import t from "tap";
import { encode } from "../../lib/ipc/attributes.ts";
import { DeliveryRequest, encodeMessageStats, Recipient } from "../../lib/ipc/protocols/delivery.ts";
import { sendMail } from "../../packaging/smtp_hello.ts";
import { logged, NEEDS_ROOT, runningInstance, until } from "../system/support/harness.ts";
import { bytes, exchange, stillWorks } from "../system/support/hostile.ts";
import { idOf, queueFile } from "../system/support/queue_damage.ts";

t.setTimeout(120_000);

const NONE = { seconds: 0, microseconds: 0 };

/** What a queue manager that somebody has taken over asks of a delivery agent. */
function deliveryRequest(queueId: string, recipient: string): Buffer {
  const content = queueFile();
  const start = content.indexOf("N\x11Received: by test");
  const time = encodeMessageStats({
    incomingArrival: { seconds: 1795340000, microseconds: 1 },
    activeArrival: { seconds: 1795340000, microseconds: 1 },
    agentHandoff: NONE,
    connectionSetupDone: NONE,
    deliverDone: NONE,
    reuseCount: 0,
  });
  const texts = Object.fromEntries(
    [
      "encoding",
      "envelopeId",
      "clientName",
      "clientAddress",
      "clientPort",
      "clientProtocol",
      "clientHelo",
      "saslMethod",
      "saslUsername",
      "saslSender",
    ].map((name) => [name, ""]),
  ) as Record<
    | "encoding"
    | "envelopeId"
    | "clientName"
    | "clientAddress"
    | "clientPort"
    | "clientProtocol"
    | "clientHelo"
    | "saslMethod"
    | "saslUsername"
    | "saslSender",
    string
  >;
  const request = encode(DeliveryRequest, {
    ...texts,
    flags: 1,
    queueName: "active",
    queueId,
    offset: start,
    size: 60,
    nexthop: "localhost",
    sendopts: 0,
    sender: "sender@example.org",
    retFlags: 0,
    time,
    logIdent: queueId,
    rewriteContext: "local",
    recipientCount: 1,
  });
  const to = encode(Recipient, {
    originalRecipient: recipient,
    recipient,
    offset: 10,
    dsnOriginalRecipient: "",
    notifyFlags: 0,
  });
  return bytes(request + to);
}

t.test(
  "a queue file that is not the mail system's is neither delivered nor marked by root",
  NEEDS_ROOT,
  async (t) => {
    const instance = await runningInstance(t);
    // what the queue manager finds in active when it begins is its own
    await stillWorks(t, instance);
    const id = idOf(900);
    const secret = join(instance.queue, "secret");
    const name = join(instance.queue, "active", id);
    const content = queueFile();
    writeFileSync(secret, content, { mode: 0o700 });
    chmodSync(secret, 0o700);
    // older kernels, and those with fs.protected_hardlinks = 0, let the owner of the queue do that
    linkSync(secret, name);
    const ask = (): Promise<string> =>
      exchange(
        join(instance.queue, "private/local"),
        deliveryRequest(id, `${instance.who.recipient}@localhost`),
      );
    await ask();
    await logged(
      instance,
      new RegExp(`local\\[\\d+\\]: fatal: open active ${id}: not a file of the mail system`),
    );
    t.same(readFileSync(secret), content, "unchanged");
    rmSync(name);
    writeFileSync(name, content, { mode: 0o700 });
    chmodSync(name, 0o700);
    const { uid, gid } = {
      uid: Number(spawnSync("id", ["-u", instance.who.mailOwner]).stdout),
      gid: Number(spawnSync("id", ["-g", instance.who.mailOwner]).stdout),
    };
    chownSync(name, uid, gid);
    await ask();
    await logged(instance, new RegExp(`${id}: to=.*status=sent`));
    await until("the mark of its own", () => readFileSync(name)[10] === "D".charCodeAt(0));
    rmSync(name);
    await stillWorks(t, instance);
  },
);

t.test("root reads no :include: file through somebody's link", NEEDS_ROOT, async (t) => {
  const lists = ["symbolic", "hard", "rootslink", "plain"];
  const instance = await runningInstance(t, {
    mainCf: (directory) =>
      `alias_maps = inline:{ ${lists.map((name) => `{ ${name} = :include:${directory}/lists/${name} }`).join(" ")} { trusted = :include:${directory}/trusted/link } }\nlocal_recipient_maps =\n`,
  });
  const folder = join(instance.directory, "lists");
  const trusted = join(instance.directory, "trusted");
  for (const path of [folder, trusted]) {
    mkdirSync(path);
    chmodSync(path, 0o755);
  }
  const secret = join(instance.directory, "secret");
  writeFileSync(secret, `${instance.who.recipient}@localhost\n`, { mode: 0o600 });
  symlinkSync(secret, join(folder, "symbolic"));
  symlinkSync(secret, join(folder, "rootslink"));
  writeFileSync(join(folder, "hard"), `${instance.who.recipient}@localhost\n`, { mode: 0o644 });
  linkSync(join(folder, "hard"), join(instance.directory, "other-name"));
  writeFileSync(join(folder, "plain"), `${instance.who.recipient}@localhost\n`, { mode: 0o644 });
  const users = Number(spawnSync("id", ["-u", instance.who.recipient]).stdout);
  spawnSync("chown", ["-h", String(users), join(folder, "symbolic")]);
  chownSync(folder, users, users);
  // root's directory, root's link
  symlinkSync(secret, join(trusted, "link"));
  for (const [list, reason] of [
    ["symbolic", "file is a symbolic link"],
    ["rootslink", "file is a symbolic link"],
    ["hard", "file has 2 hard links"],
  ] as const) {
    await sendMail(instance.smtpPort, "", `${list}@localhost`, `Subject: ${list}\r\n\r\nx\r\n`);
    await logged(instance, new RegExp(`warning: cannot open include file .*/${list}: ${reason}`));
    await logged(instance, new RegExp(`to=<${list}@localhost>.*status=bounced`));
  }
  for (const list of ["plain", "trusted"]) {
    await sendMail(instance.smtpPort, "", `${list}@localhost`, `Subject: ${list}\r\n\r\nx\r\n`);
    await logged(
      instance,
      new RegExp(`to=<${instance.who.recipient}@localhost>, orig_to=<${list}@localhost>.*status=sent`),
    );
  }
  t.equal(instance.maillog().match(/status=bounced/g)?.length, 3);
});

t.test("commands of root wait for no FIFO in the queue, and follow no link there", NEEDS_ROOT, async (t) => {
  const instance = await runningInstance(t);
  const fifo = join(instance.directory, "fifo");
  spawnSync("mkfifo", [fifo]);
  const [id, linked] = [idOf(901), idOf(902)];
  symlinkSync(fifo, join(instance.queue, "public/linked"));
  spawnSync("mkfifo", [join(instance.queue, "active", id)]);
  symlinkSync("/etc/hostname", join(instance.queue, "active", linked));
  const limited = (name: string, args: ReadonlyArray<string>): { status: number | null; said: string } => {
    const { status, stderr } = spawnSync("timeout", ["10", instance.program(name), ...args], {
      env: instance.environment,
    });
    return { status, said: stderr.toString("latin1") };
  };
  t.equal(limited("postcat", ["-q", id]).status, 1);
  t.match(limited("postcat", ["-q", linked]), { status: 1, said: /symbolic links/ });
  const reader = spawnSync(
    "sh",
    ["-c", `exec 3<>${fifo}; timeout 20 "$0" public linked W; echo $?`, instance.program("postkick")],
    { env: instance.environment },
  );
  t.equal(reader.stdout.toString().trim() === "0", false, "postkick");
  rmSync(join(instance.queue, "public/linked"));
  for (const name of [id, linked]) rmSync(join(instance.queue, "active", name));
  t.notOk(existsSync(join(instance.queue, "active", id)));
});

t.test("master and the log are not led elsewhere by a link", NEEDS_ROOT, async (t) => {
  const instance = await runningInstance(t, { stopped: true });
  instance.must("postfix", ["check"]);
  const victim = join(instance.directory, "victim");
  writeFileSync(victim, "root's\n", { mode: 0o600 });
  const start = (): string => {
    const { status, stderr } = instance.run("postfix", ["start"]);
    t.not(status, 0);
    return `${stderr}${instance.maillog()}`;
  };
  const lock = join(instance.directory, "data/master.lock");
  symlinkSync(victim, lock);
  t.match(start(), /open lock file .*master\.lock: (?:file is a symbolic link|.*Permission denied)/);
  rmSync(lock);
  writeFileSync(lock, "");
  spawnSync("chown", [instance.who.mailOwner, lock]);
  linkSync(lock, join(instance.directory, "data/other"));
  t.match(start(), /open lock file .*master\.lock: file has 2 hard links/);
  rmSync(lock);
  rmSync(instance.log);
  // in the manner of a log directory that somebody else owns
  symlinkSync(victim, instance.log);
  spawnSync("chown", ["-h", instance.who.recipient, instance.log]);
  instance.run("postlog", ["-t", "x", "a line"]);
  instance.run("postfix", ["start"]);
  t.equal(readFileSync(victim, "latin1"), "root's\n", "nothing was written through the link");
});
