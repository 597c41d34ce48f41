/** sendmail(1) and postdrop(1) beside real ones: what hostile or odd arguments and input leave in the maildrop queue. */
import { spawn } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import t, { type Test } from "tap";
import { PROGRAMS } from "../system/support/harness.ts";
import { reference } from "./support/reference.ts";

t.setTimeout(120_000);
const real = reference();
const skip = "missing" in real ? real.missing : false;
const scratch = mkdtempSync(join(tmpdir(), "posthaste-sendmail-"));
chmodSync(scratch, 0o755);
t.teardown(() => rmSync(scratch, { recursive: true, force: true }));

interface Case {
  readonly args: ReadonlyArray<string | Buffer>;
  readonly input?: string | Buffer;
  readonly program?: "sendmail" | "postdrop" | "postfix";
  /** An ordinary user, who may write to maildrop here. */
  readonly asNobody?: boolean;
  /** Effective root rights of another user, as a set-uid program has them. */
  readonly setuid?: boolean;
  /** Lines of main.cf. */
  readonly settings?: string;
}
interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** The content of maildrop, without times. */
  readonly files: ReadonlyArray<string>;
}

const NOBODY = "setpriv --reuid=65534 --regid=65534 --clear-groups";
const SETUID = "setpriv --ruid=65534 --euid=0 --rgid=65534 --egid=0 --clear-groups";
let count = 0;
async function run(
  programs: string,
  { args, input = "", program = "sendmail", asNobody = false, setuid = false, settings = "" }: Case,
): Promise<Outcome> {
  const directory = join(scratch, String(count++));
  const queue = join(directory, "queue");
  for (const name of ["maildrop", "public", "pid"]) mkdirSync(join(queue, name), { recursive: true });
  chownSync(join(queue, "maildrop"), 1, 8);
  if (asNobody || setuid) chmodSync(join(queue, "maildrop"), 0o1777);
  // nobody has to be told of new mail
  writeFileSync(join(queue, "public/pickup"), "");
  const file = join(directory, "main.cf");
  writeFileSync(
    file,
    `compatibility_level = 3.11\nqueue_directory = ${queue}\ncommand_directory = ${programs}/sbin\ndaemon_directory = ${programs}/libexec\nmail_owner = daemon\nsetgid_group = mail\nmaillog_file =\ninet_protocols = ipv4\nmyhostname = mail.example.com\n${settings}`,
  );
  utimesSync(file, 1_700_000_000, 1_700_000_000);
  const heard = { stdout: "", stderr: "" };
  // a shell passes bytes that are no UTF-8
  const quoted = args.map(
    (word) =>
      `$'${[...Buffer.from(word as string, "latin1")].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("")}'`,
  );
  const child = spawn(
    "bash",
    [
      "-c",
      `exec ${asNobody ? `${NOBODY} ` : setuid ? `${SETUID} ` : ""}${join(programs, "sbin", program)} ${quoted.join(" ")}`,
    ],
    {
      env: { PATH: "/usr/bin:/bin", MAIL_CONFIG: directory, TZ: "UTC" },
      cwd: directory,
    },
  );
  for (const name of ["stdout", "stderr"] as const)
    child[name].setEncoding("latin1").on("data", (text: string) => (heard[name] += text));
  child.stdin
    .on("error", () => undefined)
    .end(typeof input === "string" ? Buffer.from(input, "latin1") : input);
  const status = await new Promise<number | null>((resolve) => child.on("close", resolve));
  const settled = (text: string): string =>
    text
      .replaceAll(programs, "PROGRAMS")
      .replace(/\b[0-9A-F]{9,12}\b/g, "QUEUEID")
      .replace(/^.*public\/pickup.*\n/gm, "");
  return {
    status,
    stdout: settled(heard.stdout),
    stderr: settled(heard.stderr),
    files: readdirSync(join(queue, "maildrop"))
      .map((name) => join(queue, "maildrop", name))
      // the real postdrop leaves some that it refuses, not ready
      .filter((path) => (statSync(path).mode & 0o100) !== 0)
      .map((path) => `${statSync(path).uid} ${readFileSync(path, "latin1")}`)
      .map((text) =>
        text.replace(/^(\d+) T.(\d+) \d+/, (_, uid: string, time: string) =>
          Math.abs(Date.now() / 1000 - Number(time)) < 600 ? `${uid} T` : `${uid} T of another time`,
        ),
      )
      .map((text) =>
        settled(text.replace(/ id [0-9A-F]{8,13}N/, " id QUEUEIDN")).replace(
          /\w{3}, [ \d]?\d \w{3} \d{4} [\d:]{8} /,
          "DATE ",
        ),
      ),
  };
}

async function same(t: Test, cases: ReadonlyArray<Case>): Promise<void> {
  if ("missing" in real) return;
  const queue = [...cases];
  const worker = async (): Promise<void> => {
    for (let entry = queue.shift(); entry !== undefined; entry = queue.shift()) {
      const [ours, theirs] = await Promise.all([
        run(PROGRAMS.multicall, entry),
        run(dirname(real.sbin), entry),
      ]);
      t.same(
        ours,
        theirs,
        `${JSON.stringify(entry.args)} ${JSON.stringify(String(entry.input ?? "").slice(0, 40))}`,
      );
    }
  };
  await Promise.all(Array.from({ length: 12 }, worker));
}

const MESSAGE = "Subject: x\n\nbody\n";
t.test("CFG-07 what comes after -- and -f is an address, whatever it looks like", { skip }, async (t) => {
  await same(t, [
    { args: ["-i", "-f", "-oQ/var/tmp -X/var/tmp/x", "--", "-recipient@x"], input: MESSAGE },
    { args: ["-f", "a@b", "--", "-bv", "-X", "-C/var/tmp/x", "-oQ/tmp"], input: MESSAGE },
    { args: ["-f", "a@b", "x@y", "-bv", "-t"], input: MESSAGE },
    { args: ["-oQ/var/tmp/x", "-oem", "-odb", "-f", "a@b", "x@y"], input: MESSAGE },
    { args: ["-X/var/tmp/x", "x@y"], input: MESSAGE },
    { args: ["-f", "a@b", "x@y, z@w", "Name <q@r>", "(comment) c@d", "group: m@n, o@p;"], input: MESSAGE },
  ]);
  for (const path of ["/var/tmp/x", "/tmp/x"]) t.notOk(existsSync(path), path);
});

t.test("QUE-01 line breaks and null bytes on the command line", { skip }, async (t) => {
  // an argument cannot hold a null byte
  const odd = ["a\nb@c", "a\rb@c", "a@b\nS evil", "\xff\xfe@x", "a@b\x01\x7f", '"a\nb"@c'];
  await same(
    t,
    odd.flatMap((text) => [
      { args: ["-f", text, "x@y"], input: MESSAGE },
      { args: ["-F", text, "-f", "a@b", "x@y"], input: MESSAGE },
      { args: ["-V", text, "-f", "a@b", "x@y"], input: MESSAGE },
      { args: ["-f", "a@b", text], input: MESSAGE },
      { args: ["-t", "-f", "a@b"], input: `To: ${text}\nBcc: "${text}"@z\nSubject: x\n\nbody\n` },
    ]),
  );
});

const record = (type: string, data: string): string => `${type}${String.fromCharCode(data.length)}${data}`;
const stream = (envelope: string): string =>
  `${envelope}${record("M", "")}${record("N", "Subject: x")}${record("N", "")}${record("X", "")}${record("E", "")}`;
const GOOD = record("S", "a@b") + record("R", "x@y");
t.test("QUE-01 QUE-02 QUE-03 QUE-04 records that only the system may write, or nobody", { skip }, (t) =>
  same(
    t,
    [
      ...["\n", "\r", "\0"].flatMap((byte) => [
        record("S", `a@b${byte}From x`) + record("R", "x@y"),
        record("S", "a@b") + record("R", `x@y${byte}z`),
        record("F", `a${byte}b`) + GOOD,
        record("A", `envelope_id=a${byte}b`) + GOOD,
      ]),
      ...[
        "trace_flags=1",
        "trace_flags=4",
        "trace_flags=512",
        "trace_flags=1024",
        "trace_flags=513",
        "trace_flags=999999999999",
        "trace_flags= 512",
        "trace_flags=0x200",
      ].map((text) => record("A", text) + GOOD),
      ...[
        "log_client_name=x",
        "client_address=1.2.3.4",
        "sasl_username=x",
        "ret_flags=9",
        "__proto__=x",
        "foo",
        "encoding=8bit",
        "encoding=x",
        "rewrite_context=x",
        "create_time=1",
        "dsn_orig_rcpt=rfc822;a",
        "notify_flags=3",
      ].map((text) => record("A", text) + GOOD),
      ...["p", "w", "L", ">", "f", "\0", "T", "N", "O", "D", "i", "n", "C"].map(
        (type) => record(type, "1234567") + GOOD,
      ),
      record("T", "1 1") + GOOD,
      record("S", "a@b"),
      record("R", "x@y"),
      "S\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
      "S\x20short",
      "R",
      "",
    ].map((envelope): Case => ({ program: "postdrop", args: ["-r"], input: stream(envelope) })),
  ),
);

t.test("QUE-10 the time, the size and the sender are not what the caller says", { skip }, async (t) => {
  const senders = `local_login_sender_maps = inline:{{nobody=nobody@example.com}, {daemon=@example.com}}\n`;
  const cases: Case[] = [
    ...["1 1", "0", "", "abc", "99999999999 0", "-1"].map((time) => ({ input: record("T", time) + GOOD })),
    { input: record("T", "1 1") + record("T", "2 2") + GOOD },
    { input: GOOD + record("T", "1 1") },
    ...["1", "  1 1 1 1 1 1", "99999999999"].map((size) => ({ input: record("C", size) + GOOD })),
    ...["!nobody, static:all", "nobody", "!static:all", "root", "", "inline:{nobody=x}"].map((users) => ({
      input: GOOD,
      settings: `authorized_submit_users = ${users}\n`,
    })),
    ...["nobody@example.com", "other@example.com", "", "nobody", "@example.com"].map((sender) => ({
      input: record("S", sender) + record("R", "x@y"),
      settings: senders,
    })),
    // the second sender is looked at as well
    {
      input: record("S", "nobody@example.com") + record("S", "root@example.com") + record("R", "x@y"),
      settings: senders,
    },
  ].map(({ input, ...rest }) => ({
    program: "postdrop" as const,
    args: ["-r"],
    asNobody: true,
    input: stream(input),
    ...rest,
  }));
  await same(t, cases);
  const own = await run(PROGRAMS.multicall, cases.find(({ input }) => String(input).startsWith("C")) as Case);
  t.match(own.files[0], /^65534 T(?! of)/, "the time is that of the submission");
  const given = await run(PROGRAMS.multicall, cases[0] as Case);
  t.match(given.stderr, /postdrop: fatal: uid=65534: unexpected record type: 84\n/);
});

t.test("SMTPD-36 SMTP on standard input and output, by an ordinary user", { skip }, (t) => {
  const transaction = "MAIL FROM:<a@b.example>\r\nRCPT TO:<nobody>\r\n";
  return same(
    t,
    [
      `EHLO x\r\n${transaction}DATA\r\nSubject: x\r\n\r\nbody\r\n..\r\n.\r\nQUIT\r\n`,
      `HELO x\r\n${transaction}DATA\r\n.\r\n${transaction}RSET\r\nNOOP\r\nQUIT\r\n`,
      "EHLO x\r\nSTARTTLS\r\nAUTH PLAIN AAAA\r\nXCLIENT NAME=x\r\nXFORWARD NAME=x\r\nVRFY nobody\r\nETRN example.com\r\nfoo\r\n\r\nHELP\r\nQUIT\r\n",
      `EHLO x\r\n${transaction}BDAT 12\r\nSubject: x\r\nBDAT 8 LAST\r\n\r\nbody\r\nQUIT\r\n`,
      "MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\nRCPT\r\nMAIL\r\nRSET x\r\nQUIT x\r\nQUIT\r\n",
      `EHLO x\r\nMAIL FROM:<a@b> BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<c@d> NOTIFY=NEVER ORCPT=rfc822;x\r\nRCPT TO:<e@f> FOO=bar\r\nDATA\r\nX: y\r\n\r\n\xff\r\n.\r\n`,
      "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nbroken off",
      "",
      "EHLO\r\nHELO [x\r\nEHLO x y\r\nQUIT\r\n",
      `${"EHLO x\r\nMAIL FROM:<a@b>\r\n"}${Array.from({ length: 30 }, (_, index) => `RCPT TO:<u${index}@x>\r\n`).join("")}RCPT TO:<@a:b@c>\r\nRCPT TO:<"a b"@c>\r\nRCPT TO:<>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n`,
    ].map((input): Case => ({ args: ["-bs"], input, asNobody: true })),
  );
});

t.test("CFG-06 programs with the rights of root that somebody else started", { skip }, (t) =>
  same(t, [
    { args: ["-f", "a@b", "x@y"], input: MESSAGE, setuid: true },
    { args: ["status"], program: "postfix", setuid: true },
    { args: ["start"], program: "postfix", setuid: true },
  ]),
);
