/**
 * DUR-03: for some seconds a daemon gets no descriptors, no memory, no space, or errors from its disk, while mail goes through it. It says so, it does
 * not burn the processor, nothing that was acknowledged is lost, and afterwards everything works again. Writes that fail: durability.test.ts.
 */
import { execFile, spawn } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Instance } from "../../packaging/instance.ts";
import { sendMail } from "../../packaging/smtp_hello.ts";
import { daemons, logged, queueFiles, runningInstance, terminate, until } from "./support/harness.ts";
import { CountingSink, Session } from "./support/load.ts";
import { NEEDS_COMPILER, Preloaded } from "./support/preloaded.ts";
import { NEEDS_STRACE } from "./support/traced_programs.ts";

t.setTimeout(600_000);

const DESCRIPTORS = "openat,accept4,socket,socketpair,pipe2";
const NAMES = "openat,mkdir,rename,link";
const FAULTS: ReadonlyMap<string, { readonly calls: string; readonly text: string }> = new Map([
  ["EMFILE", { calls: DESCRIPTORS, text: "Too many open files" }],
  ["ENFILE", { calls: DESCRIPTORS, text: "Too many open files in system" }],
  ["ENOMEM", { calls: `${NAMES},accept4,socket`, text: "Cannot allocate memory" }],
  ["ENOSPC", { calls: `${NAMES},fsync,fdatasync`, text: "No space left on device" }],
  ["EDQUOT", { calls: `${NAMES},fsync,fdatasync`, text: "Disk quota exceeded" }],
  ["EIO", { calls: `${NAMES},fsync,fdatasync`, text: "Input/output error" }],
  ["EROFS", { calls: `${NAMES},unlink,chmod,fchmod`, text: "Read-only file system" }],
]);
const PROGRAMS = [
  ["master", "smtpd", "cleanup", "anvil"],
  ["qmgr", "trivial-rewrite", "local", "smtp"],
  ["pickup", "bounce", "virtual", "showq", "verify", "proxymap", "flush", "error"],
] as const;
/** Who keeps its connections to a program: when it begins anew, the program has to accept. */
const CLIENTS: Readonly<Record<string, string>> = {
  anvil: "smtpd",
  "trivial-rewrite": "cleanup",
  verify: "smtpd",
  proxymap: "smtpd",
};
/** Seconds of trouble. */
const TROUBLE = 1.5;
/** The runtime looks at its memory now and then; accepting in vain is a test of its own. */
const OF_OURS = /^(?!.*(?:\/proc\/self\/statm|accept4)).*\(INJECTED\)/gm;
/** Calls that fail, a second: more is a loop without a pause. */
const CALLS = 400;

/** Seconds of processor time that a process has used. */
function processorTime(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

const pause = (seconds: number): Promise<void> => new Promise((done) => setTimeout(done, seconds * 1000));

interface Mail {
  readonly instance: Instance;
  readonly sink: CountingSink;
  readonly directory: string;
  readonly accepted: Set<string>;
  count: number;
}

/** A little of everything that the daemons do; what was acknowledged is written down when it is. */
function work(mail: Mail): Promise<unknown> {
  const { instance, accepted } = mail;
  const own = `${instance.who.recipient}@localhost`;
  const round = mail.count++;
  const bySmtp = ["elsewhere.test", "vbox.test", "localhost"].map((domain) => {
    const id = `${round}-${domain}`;
    const to = domain === "localhost" ? own : `user@${domain}`;
    return sendMail(instance.smtpPort, own, to, `Subject: x\r\nX-Load-Id: ${id}\r\n\r\nbody\r\n`).then(
      () => accepted.add(id),
      () => undefined,
    );
  });
  const command = (name: string, args: string[], input: string): Promise<boolean> =>
    new Promise((done) => {
      const child = execFile(
        instance.program(name),
        args,
        { env: instance.environment, timeout: 60_000 },
        (error) => done(error === null),
      );
      child.stdin?.on("error", () => undefined);
      child.stdin?.end(input);
    });
  // to be delivered, and to be returned
  const submitted = [own, "user@gone.test"].map(async (to, index) => {
    const id = `${round}-command${index}`;
    if (await command("sendmail", ["-f", own, to], `Subject: x\nX-Load-Id: ${id}\n\nbody\n`))
      accepted.add(id);
  });
  return Promise.all([
    ...bySmtp,
    ...submitted,
    command("postqueue", ["-p"], ""),
    command("postqueue", ["-s", "elsewhere.test"], ""),
  ]);
}

function missing({ instance, sink, directory, accepted }: Mail): string[] {
  const texts = [join(instance.mail, instance.who.recipient), join(directory, "mail/vbox")].map((path) =>
    existsSync(path) ? readFileSync(path, "latin1") : "",
  );
  const arrived = new Set(sink.arrivals.keys());
  for (const text of texts) for (const [, id = ""] of text.matchAll(/^X-Load-Id: (\S+)$/gm)) arrived.add(id);
  return [...accepted].filter((id) => !arrived.has(id));
}

/** True when a call failed. */
async function trouble(t: Test, mail: Mail, program: string, fault: string): Promise<boolean> {
  const { calls = "", text = "" } = FAULTS.get(fault) ?? {};
  const { instance } = mail;
  const pids =
    program === "master"
      ? [Number(readFileSync(join(instance.queue, "pid/master.pid"), "latin1"))]
      : daemons(instance, program);
  if (pids.length === 0) return false;
  const report = join(mail.directory, `report.${program}`);
  rmSync(report, { force: true });
  const position = instance.maillog().length;
  const tracer = spawn(
    "strace",
    [
      "-f",
      "-qq",
      "-o",
      report,
      ...pids.flatMap((pid) => ["-p", String(pid)]),
      "-e",
      `trace=${calls}`,
      "-e",
      `inject=${calls}:error=${fault}`,
    ],
    { stdio: "ignore" },
  );
  const ended = new Promise((done) => tracer.once("exit", done));
  const failures = (): number =>
    existsSync(report) ? (readFileSync(report, "latin1").match(OF_OURS)?.length ?? 0) : 0;
  for (const pid of daemons(instance, CLIENTS[program] ?? "none")) terminate(pid);
  await pause(0.3);
  const working = work(mail);
  await pause(TROUBLE);
  const count = failures();
  const vain = existsSync(report) && readFileSync(report, "latin1").includes("accept4(");
  tracer.kill("SIGTERM");
  await ended;
  await working;
  t.ok(count < CALLS * TROUBLE, `${program} ${fault}: ${count} calls failed`);
  await until(`${program} ${fault}: everything arrives`, () => missing(mail).length === 0, 45).catch(
    (error: unknown) =>
      t.fail(String(error), {
        missing: missing(mail),
        log: instance.maillog().slice(position).split("\n").slice(-40),
      }),
  );
  const said = instance.maillog().slice(position);
  if (count > 0 && !said.includes(text))
    t.comment(
      `${program} ${fault}: ${count} calls failed and nothing was said: ${readFileSync(report, "latin1").split("\n").slice(0, 3).join("; ")}`,
    );
  const broken = said.match(/.*(?:panic:|killed by signal (?!15\b)|internal error).*/g) ?? [];
  t.same(broken, [], `${program} ${fault}: nothing broke`);
  return count > 0 || vain;
}

async function troubleFor(t: Test, programs: ReadonlyArray<string>): Promise<void> {
  const sink = new CountingSink();
  const port = await sink.listen();
  t.teardown(() => sink.close());
  const made: { directory?: string } = {};
  const instance = await runningInstance(t, {
    mainCf: (directory) => {
      made.directory = directory;
      writeFileSync(join(directory, "vbox"), "user@vbox.test vbox\n");
      return `sandbox = off
relayhost = [127.0.0.1]:${port}
smtp_connection_cache_destinations = 127.0.0.1
fast_flush_domains = elsewhere.test
service_throttle_time = 1s
transport_retry_time = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
ipc_timeout = 10s
qmgr_clog_warn_time = 0
mailbox_delivery_lock = fcntl
virtual_mailbox_lock = fcntl
transport_maps = inline:{ { gone.test = error:5.1.1 no such user } }
virtual_mailbox_domains = vbox.test
virtual_mailbox_base = ${directory}/mail
virtual_mailbox_maps = proxy:texthash:${directory}/vbox
virtual_uid_maps = static:${process.getuid?.() === 0 ? 65534 : process.getuid?.()}
virtual_gid_maps = static:${process.getuid?.() === 0 ? 65534 : process.getgid?.()}
virtual_minimum_uid = 1
proxy_read_maps = $virtual_mailbox_maps $local_recipient_maps
smtpd_sender_restrictions = reject_unverified_sender
unverified_sender_reject_code = 250
notify_classes =
smtpd_client_event_limit_exceptions =
`;
    },
    masterCf: "qmgr unix n - n 2 1 qmgr\npickup unix n - n 2 1 pickup\n",
  });
  const mail: Mail = { instance, sink, directory: made.directory ?? "", accepted: new Set(), count: 0 };
  await work(mail);
  await until("the first messages", () => missing(mail).length === 0);
  t.ok(mail.accepted.size > 0, "mail flows before");
  const seen = new Map<string, number>(programs.map((program) => [program, 0]));
  for (const fault of FAULTS.keys())
    for (const program of programs)
      if (await trouble(t, mail, program, fault)) seen.set(program, (seen.get(program) ?? 0) + 1);
  for (const [program, count] of seen) t.ok(count > 0, `${program} was in trouble ${count} times`);
  const before = mail.accepted.size;
  await work(mail);
  t.equal(mail.accepted.size, before + 5, "mail flows afterwards");
  await until(
    "an empty queue",
    () => ["maildrop", "active", "deferred"].every((queue) => queueFiles(instance, queue).length === 0),
    60,
  );
  t.same(missing(mail), []);
  t.same(queueFiles(instance, "corrupt"), []);
}

t.test(
  "DUR-03 no descriptors, no memory, no space, a disk that fails, for one daemon after the other",
  NEEDS_STRACE,
  async (t) => {
    await Promise.all(PROGRAMS.map((programs) => troubleFor(t, programs)));
  },
);

const ENFILE = 23;

t.test(
  "DUR-03 a daemon without descriptors for clients rests, says so, and takes them when it has some",
  NEEDS_COMPILER,
  async (t) => {
    const made: { accept?: Preloaded } = {};
    const instance = await runningInstance(t, {
      mainCf: (directory) => {
        made.accept = new Preloaded(directory, "failing_accept", "ACCEPT_FAILS");
        return made.accept.setting;
      },
    });
    const { accept } = made;
    if (accept === undefined) throw new Error("no library");
    const to = `${instance.who.recipient}@localhost`;
    await sendMail(instance.smtpPort, "", to, "Subject: x\r\n\r\nx\r\n");
    const [pid = 0] = daemons(instance, "smtpd");
    const position = instance.maillog().length;
    accept.store(ENFILE);
    const sessions = Array.from({ length: 3 }, () => new Session(instance.smtpPort));
    await logged(instance, /smtpd\[\d+\]: warning: accept connection: Too many open files in system/, 5);
    const used = processorTime(pid);
    await pause(4);
    const busy = (processorTime(pid) - used) / 4;
    t.ok(busy < 0.3, `${busy} of a processor`);
    const lines =
      instance
        .maillog()
        .slice(position)
        .match(/smtpd.*accept connection/g)?.length ?? 0;
    t.ok(lines < 10, `${lines} lines`);
    accept.store(0);
    for (const session of sessions) await session.expect("220");
    t.ok(daemons(instance, "smtpd").includes(pid), "it did not end");
    for (const session of sessions) session.close();
    await sendMail(instance.smtpPort, "", to, "Subject: x\r\n\r\nx\r\n");
  },
);
