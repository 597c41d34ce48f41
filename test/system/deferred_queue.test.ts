/** A deferred queue of 50,000 messages: the queue manager's start and memory, new mail beside it, the listings, and its end. */
import { execFileSync, spawn } from "node:child_process";
import {
  chownSync,
  closeSync,
  existsSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  futimesSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import t from "tap";
import { makeQueueId } from "../../lib/queue/queue_id.ts";
import { RecordBuffer } from "../../lib/queue/record_writer.ts";
import { Rec, recordSize } from "../../lib/queue/records.ts";
import { encodeSize } from "../../lib/queue/size_record.ts";
import type { Instance } from "../../packaging/instance.ts";
import { sendMail } from "../../packaging/smtp_hello.ts";
import {
  daemons,
  isRoot,
  logged,
  NEEDS_ROOT,
  queueFiles,
  runningInstance,
  troubles,
  until,
} from "./support/harness.ts";

const MESSAGES = 50_000;
/** So many of them may be tried at once; the others in an hour or later. */
const DUE = 300;
/** So many have a log that says why they wait. */
const LOGGED = 3000;

/** A queue file's bytes. */
function queueFile(sender: string, recipient: string, arrival: number): Buffer {
  const size = 2 + 95;
  const envelope = new RecordBuffer();
  envelope.put(Rec.TIME, `${arrival} 123456`);
  envelope.put(Rec.ATTRIBUTE, `create_time=${arrival}`);
  envelope.put(Rec.ATTRIBUTE, "rewrite_context=local");
  envelope.put(Rec.FROM, sender);
  envelope.put(Rec.ATTRIBUTE, "log_client_name=localhost");
  envelope.put(Rec.ATTRIBUTE, "log_client_address=127.0.0.1");
  envelope.put(Rec.ATTRIBUTE, `dsn_orig_rcpt=rfc822;${recipient}`);
  envelope.put(Rec.ORIGINAL_RECIPIENT, recipient);
  envelope.put(Rec.RECIPIENT, recipient);
  envelope.put(Rec.CONTENT);
  const content = new RecordBuffer();
  for (const line of [`From: ${sender}`, `To: ${recipient}`, "Subject: waiting", "", "body"])
    content.put(Rec.NORMAL, line);
  const dataOffset = size + envelope.length;
  const contentSize = content.length;
  const file = new RecordBuffer();
  file.put(
    Rec.SIZE,
    encodeSize({
      contentSize,
      dataOffset,
      recipientCount: 1,
      hints: 0,
      messageLength: contentSize,
      sendOptions: 0,
    }),
  );
  if (file.length !== recordSize(95)) throw new Error("size record");
  file.append(envelope.view());
  file.append(content.view());
  file.put(Rec.EXTRACTED);
  file.put(Rec.END);
  return Buffer.from(file.view());
}

function fillQueue(instance: Instance): void {
  const [uid, gid] = isRoot
    ? ["-u", "-g"].map((flag) =>
        Number(execFileSync("id", [flag, instance.who.mailOwner], { encoding: "utf8" })),
      )
    : [];
  const own = (path: string): void => {
    if (isRoot) chownSync(path, uid ?? 0, gid ?? 0);
  };
  for (const queue of ["deferred", "defer"])
    for (const digit of "0123456789ABCDEF") {
      mkdirSync(join(instance.queue, queue, digit), { mode: 0o700 });
      own(join(instance.queue, queue, digit));
    }
  const now = Math.floor(Date.now() / 1000);
  const temporary = join(instance.queue, "deferred", "new.1");
  for (let index = 0; index < MESSAGES; index++) {
    const recipient = `user${index}@site${index % 500}.slow.test`;
    const fd = openSync(temporary, "w", 0o600);
    writeSync(fd, queueFile("sender@example.org", recipient, now - 3600));
    fchmodSync(fd, 0o700);
    if (isRoot) fchownSync(fd, uid ?? 0, gid ?? 0);
    const due = index % Math.floor(MESSAGES / DUE) === 0 ? now - 10 : now + 3600 + (index % 300);
    futimesSync(fd, due, due);
    const { ino } = fstatSync(fd, { bigint: true });
    closeSync(fd);
    const id = makeQueueId({ seconds: now, microseconds: (index * 19) % 1_000_000, inode: ino }, false);
    renameSync(temporary, join(instance.queue, "deferred", id.charAt(0), id));
    if (index % Math.floor(MESSAGES / LOGGED) !== 0) continue;
    const log = join(instance.queue, "defer", id.charAt(0), id);
    writeFileSync(
      log,
      `\n<${recipient}>: some reason\nrecipient=${recipient}\noffset=300\nstatus=4.2.1\naction=delayed\nreason=some reason\n\n`,
      { mode: 0o600 },
    );
    own(log);
  }
}

interface Memory {
  /** Megabytes. */
  readonly resident: number;
  readonly peak: number;
  readonly proportional: number;
  readonly anonymous: number;
}

function memoryOf(pid: number): Memory | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "latin1");
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "latin1");
    const megabytes = (text: string, name: string): number =>
      Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? 0) / 1024;
    return {
      resident: megabytes(status, "VmRSS"),
      peak: megabytes(status, "VmHWM"),
      proportional: megabytes(rollup, "Pss"),
      anonymous: megabytes(rollup, "Pss_Anon"),
    };
  } catch {
    // it has ended
    return undefined;
  }
}
const show = ({ resident, peak, proportional, anonymous }: Memory): string =>
  `VmRSS ${resident.toFixed(0)} MB, peak ${peak.toFixed(0)} MB, Pss ${proportional.toFixed(0)} MB of which anonymous ${anonymous.toFixed(0)} MB`;

interface Listing {
  readonly lines: number;
  readonly first: number;
  readonly total: number;
  readonly peak: number;
  readonly showq: number;
  readonly last: string;
}

/** Runs a listing while looking at the memory of both ends. */
function list(instance: Instance, flag: "-p" | "-j"): Promise<Listing> {
  return new Promise((resolve, reject) => {
    const began = performance.now();
    const child = spawn(instance.program("postqueue"), [flag], {
      env: instance.environment,
      stdio: ["ignore", "pipe", "inherit"],
    });
    let [lines, first, peak, showq, last] = [0, 0, 0, 0, ""];
    const sample = (): void => {
      peak = Math.max(peak, memoryOf(child.pid ?? 0)?.peak ?? 0);
      for (const pid of daemons(instance, "showq")) showq = Math.max(showq, memoryOf(pid)?.peak ?? 0);
    };
    const timer = setInterval(sample, 100);
    child.stdout.on("data", (chunk: Buffer) => {
      if (first === 0) {
        first = performance.now() - began;
        sample();
      }
      for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) lines++;
      last = (last + chunk.toString("latin1")).slice(-200);
    });
    child.on("error", reject);
    child.on("close", (status) => {
      clearInterval(timer);
      if (status === 0) resolve({ lines, first, total: performance.now() - began, peak, showq, last });
      else reject(new Error(`postqueue ${flag}: status ${status}`));
    });
  });
}

t.test("a deferred queue of 50,000 messages", NEEDS_ROOT, async (t) => {
  const instance = await runningInstance(t, {
    stopped: true,
    mainCf:
      "transport_maps = inline:{ { .slow.test = retry:4.2.1 not today } }\nminimal_backoff_time = 3600s\n",
  });
  instance.must("postfix", ["check"]);
  const timed = async <T>(what: string, action: () => T | Promise<T>): Promise<T> => {
    const began = performance.now();
    const result = await action();
    t.comment(`${what}: ${((performance.now() - began) / 1000).toFixed(2)} s`);
    return result;
  };
  await timed("filling the queue", () => fillQueue(instance));
  await timed("postfix start, with its check of the queue", () => instance.start());
  const to = `${instance.who.recipient}@localhost`;
  const mailbox = join(instance.mail, instance.who.recipient);
  const delivered = (subject: string): boolean =>
    existsSync(mailbox) && readFileSync(mailbox, "latin1").includes(`Subject: ${subject}\n`);

  const began = performance.now();
  await sendMail(instance.smtpPort, "new@example.org", to, "Subject: right after the start\r\n\r\nx\r\n");
  await until("delivery of a new message", () => delivered("right after the start"));
  const latency = performance.now() - began;
  t.comment(`a message sent right after the start was delivered after ${latency.toFixed(0)} ms`);
  t.ok(latency < 10_000, "new mail does not wait for the old");

  const due = (): number =>
    new Set(
      instance.maillog().match(/: \w+: to=<user\d+@site\d+\.slow\.test>, .*status=deferred \(not today\)/g),
    ).size;
  await until("the due messages to be tried", () => due() >= DUE, 60);
  await until("an idle queue manager", () => queueFiles(instance, "active").length === 0, 30);
  const [pid = 0] = daemons(instance, "qmgr");
  const memory = memoryOf(pid);
  if (memory === undefined) throw new Error("no queue manager");
  t.comment(`queue manager after its scan: ${show(memory)}`);
  t.ok(memory.anonymous < 150 && memory.peak < 350, "its memory does not grow with the queue");
  t.ok(due() < 2 * DUE, `only what was due was tried (${due()})`);

  const second = performance.now();
  await sendMail(instance.smtpPort, "new@example.org", to, "Subject: later\r\n\r\nx\r\n");
  await until("delivery of a new message", () => delivered("later"));
  t.comment(`a message sent later was delivered after ${(performance.now() - second).toFixed(0)} ms`);

  for (const flag of ["-p", "-j"] as const) {
    const listing = await list(instance, flag);
    t.comment(
      `postqueue ${flag}: first output after ${listing.first.toFixed(0)} ms, all after ${listing.total.toFixed(0)} ms; peak VmRSS of postqueue ${listing.peak.toFixed(0)} MB, of showq ${listing.showq.toFixed(0)} MB`,
    );
    t.ok(listing.first < listing.total / 2, `postqueue ${flag}: the first output comes before the end`);
    t.ok(listing.peak > 0 && listing.peak < 200, "memory of postqueue");
    t.ok(listing.showq < 250, "memory of showq");
    if (flag === "-j") t.equal(listing.lines, MESSAGES, "one object for each message");
    else t.match(listing.last, new RegExp(`\n-- \\d+ Kbytes in ${MESSAGES} Requests\\.\n$`));
  }
  const again = await until("an idle queue manager", () => memoryOf(pid));
  t.comment(`queue manager at the end: ${show(again)}`);

  const result = await timed("postsuper -d ALL", () => instance.run("postsuper", ["-d", "ALL"]));
  t.equal(result.stderr.toString(), `postsuper: Deleted: ${MESSAGES} messages\n`);
  t.equal(instance.must("mailq"), "Mail queue is empty\n");
  for (const queue of ["deferred", "defer", "active", "incoming"])
    t.same(queueFiles(instance, queue), [], queue);
  t.same(troubles(instance), []);
  await logged(instance, /Deleted: 50000 messages/);
});
