/** Queue files and listings both ways: each system reads, shows and delivers what the other one wrote. */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Instance } from "../../packaging/instance.ts";
import { logged, PROGRAMS, until } from "../system/support/harness.ts";
import { CountingSink } from "../system/support/load.ts";
import { findFile } from "../system/support/queue_files.ts";
import { command, continueWith, end, mixedInstance } from "./support/mixed.ts";
import { type Reference, reference } from "./support/reference.ts";

const programs = reference();
const skip = "missing" in programs ? { skip: programs.missing } : {};

/** Runs a command of one of the two systems. */
function of(
  side: "ours" | "real",
  theirs: Reference,
  instance: Instance,
  name: string,
  args: ReadonlyArray<string>,
): { status: number | null; stdout: string; stderr: string } {
  const folder = side === "ours" ? join(PROGRAMS.multicall, "sbin") : theirs.sbin;
  const result = spawnSync(join(folder, name), [...args], { env: instance.environment, timeout: 60_000 });
  return {
    status: result.status,
    stdout: result.stdout.toString("latin1"),
    stderr: result.stderr.toString("latin1"),
  };
}

/** A dialogue with everything that leaves its traces in a queue file. */
async function submit(port: number, commands: ReadonlyArray<string>, content: string): Promise<string> {
  const socket = connect(port, "127.0.0.1").setEncoding("latin1");
  let received = "";
  socket.on("data", (chunk: string) => (received += chunk));
  const after = async (lines: string, pattern: RegExp): Promise<string> => {
    const from = received.length;
    socket.write(lines, "latin1");
    return (
      (
        await until(
          `${pattern} after ${lines.slice(0, 80)}: ${received}`,
          () => pattern.exec(received.slice(from)) ?? undefined,
        )
      )[1] ?? ""
    );
  };
  try {
    await until("the greeting", () => received.startsWith("220 "));
    await after("EHLO client.posthaste.test\r\n", /^250 /m);
    for (const line of commands) await after(`${line}\r\n`, /^250 /m);
    await after("DATA\r\n", /^354 /m);
    return await after(`${content}.\r\n`, /^250 2\.0\.0 Ok: queued as (\w+)/m);
  } finally {
    socket.destroy();
  }
}

const EIGHT_BIT = Buffer.from(Array.from({ length: 96 }, (_, index) => 160 + index)).toString("latin1");
const CONTENT = (subject: string): string =>
  `From: "A. Sender" <a@example.org>\r\nSubject: ${subject}\r\nX-Load-Id: ${subject}\r\nX-Folded: one\r\n\ttwo\r\n\r\nfirst\r\n\r\n${EIGHT_BIT}\r\n..dot\r\n${"long ".repeat(1500)}\r\n\0 nul\r\nlast\r\n`;

type Filled = {
  readonly held: string;
  readonly deferred: string;
  /** Delivered to nobody@localhost, deferred for another recipient. */
  readonly half: string;
  readonly fromSendmail: string;
};

/** Puts messages of each kind into the queue. */
async function fill(instance: Instance): Promise<Filled> {
  const held = await submit(
    instance.smtpPort,
    [
      "MAIL FROM:<nobody@localhost> BODY=8BITMIME RET=HDRS ENVID=id+2B42",
      "RCPT TO:<one@later.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;One+2Bx@later.test",
      'RCPT TO:<"two two"@later.test> NOTIFY=NEVER',
    ],
    CONTENT("hold-one"),
  );
  const deferred = await submit(
    instance.smtpPort,
    ["MAIL FROM:<> SIZE=9000", "RCPT TO:<three@later.test>", "RCPT TO:<four@later.test>"],
    CONTENT("deferred-one"),
  );
  const half = await submit(
    instance.smtpPort,
    ["MAIL FROM:<a@example.org>", "RCPT TO:<nobody@localhost>", "RCPT TO:<five@later.test>"],
    CONTENT("half-one"),
  );
  command(
    instance,
    "sendmail",
    ["-f", "nobody@localhost", "-F", "Full Name", "six@later.test"],
    "Subject: by-sendmail\nX-Load-Id: by-sendmail\n\n.\nbody\n",
  );
  await logged(instance, new RegExp(`: ${deferred}: to=<four@later\\.test>, .*status=deferred`));
  await logged(instance, new RegExp(`: ${half}: to=<five@later\\.test>, .*status=deferred`));
  const [, fromSendmail = ""] = await logged(instance, /: (\w+): to=<six@later\.test>, .*status=deferred/);
  for (const id of [deferred, half, fromSendmail])
    await until(`${id} in deferred`, () => findFile(instance, "deferred", id));
  await until(`${held} in hold`, () => findFile(instance, "hold", held));
  return { held, deferred, half, fromSendmail };
}

const POSTCAT_OPTIONS = [
  [],
  ["-e"],
  ["-h"],
  ["-b"],
  ["-bh"],
  ["-o"],
  ["-d"],
  ["-f"],
  ["-fod"],
  ["-v", "-o"],
  ["-r", "-v", "-o"],
  ["-s", "97", "-o"],
] as const;
const FEW_OPTIONS = [[], ["-v", "-o"]] as const;

/** Both postcats on every message and maildrop file. */
function compareReaders(
  t: Test,
  theirs: Reference,
  instance: Instance,
  filled: Readonly<Record<string, string>>,
  allOptions: ReadonlyArray<ReadonlyArray<string>>,
): void {
  for (const [kind, id] of Object.entries(filled)) {
    for (const options of allOptions) {
      const real = of("real", theirs, instance, "postcat", [...options, "-q", id]);
      const ours = of("ours", theirs, instance, "postcat", [...options, "-q", id]);
      t.equal(ours.stdout, real.stdout, `${kind}: postcat ${options.join(" ")}`);
      t.equal(ours.status, real.status);
    }
    t.ok(
      of("real", theirs, instance, "postcat", ["-q", id]).stdout.includes("*** MESSAGE FILE END "),
      `${kind} is whole`,
    );
  }
}

function compareListings(
  t: Test,
  theirs: Reference,
  instance: Instance,
  what: string,
): { text: string; json: string } {
  const listings = (["-p", "-j"] as const).map((flag) => {
    const real = of("real", theirs, instance, "postqueue", [flag]);
    const ours = of("ours", theirs, instance, "postqueue", [flag]);
    t.equal(real.status, 0);
    t.equal(ours.stdout, real.stdout, `postqueue ${flag}: ${what}`);
    return ours.stdout;
  });
  return { text: listings[0] ?? "", json: listings[1] ?? "" };
}

const VARIANTS = [
  { name: "short queue IDs, hash depth 1", mainCf: "", options: POSTCAT_OPTIONS },
  {
    name: "long queue IDs, hash depth 2",
    options: FEW_OPTIONS,
    mainCf:
      "enable_long_queue_ids = yes\nhash_queue_depth = 2\nhash_queue_names = deferred, defer, hold, active, incoming\n",
  },
] as const;

for (const base of ["ours", "real"] as const)
  for (const variant of VARIANTS)
    t.test(
      `${base === "ours" ? "our files in a real Postfix" : "a real Postfix's files in ours"}: ${variant.name}`,
      skip,
      async (t) => {
        if ("missing" in programs) return;
        const other = base === "ours" ? "real" : "ours";
        const sink = new CountingSink();
        const sinkPort = await sink.listen();
        t.teardown(() => sink.close());
        const instance = await mixedInstance(
          t,
          programs,
          { base, swapped: [] },
          `${variant.mainCf}header_checks = regexp:{ { /^Subject: hold/ HOLD } }\nrelayhost = [127.0.0.1]:1\nsmtp_connection_cache_on_demand = no\n`,
        );
        try {
          const filled = await fill(instance);
          compareReaders(t, programs, instance, filled, variant.options);
          const before = compareListings(
            t,
            programs,
            instance,
            `with ${base === "ours" ? "our" : "their"} showq`,
          );
          t.equal(before.json.trim().split("\n").length, 4);

          // local submissions wait in maildrop meanwhile
          await end(instance);
          const drop = command(
            instance,
            "sendmail",
            ["-f", "nobody@localhost", "-N", "success,failure", "-V", "envelope", "seven@later.test"],
            "Subject: dropped\nX-Load-Id: dropped\n\nbody\n",
          );
          t.equal(drop.status, 0);
          const [maildrop = ""] = readdirSync(join(instance.queue, "maildrop"));
          compareReaders(t, programs, instance, { maildrop }, variant.options);
          startAgain(instance);

          // the other system lists the same, then delivers all of it
          await continueWith(instance, programs, { base: other, swapped: [] }, (text) =>
            text.replace(/^relayhost = .*$/m, `relayhost = [127.0.0.1]:${sinkPort}`),
          );
          const listed = (): string => of("ours", programs, instance, "postqueue", ["-j"]).stdout;
          // what was in maildrop goes out at once, the others wait for their time
          await until(
            "the first delivery",
            () => sink.arrivals.has("dropped") && listed().trim().split("\n").length === 4,
          );
          const after = listed();
          const lineOf = (json: string, id: string): string | undefined =>
            json.split("\n").find((line) => line.includes(`"${id}"`));
          t.equal(
            lineOf(after, filled.held),
            lineOf(before.json, filled.held),
            "the held message is listed as before",
          );
          compareListings(t, programs, instance, `with ${other === "ours" ? "our" : "their"} showq`);
          t.equal(command(instance, "postsuper", ["-H", filled.held]).status, 0);
          t.equal(command(instance, "postqueue", ["-f"]).status, 0);
          const subjects = ["hold-one", "deferred-one", "half-one", "by-sendmail", "dropped"];
          await until(`delivery of ${subjects.join(", ")}; have ${JSON.stringify([...sink.arrivals])}`, () =>
            subjects.every((subject) => sink.arrivals.has(subject)),
          );
          await until("an empty queue", () =>
            command(instance, "postqueue", ["-p"]).stdout.includes("Mail queue is empty"),
          );
          t.same(
            [...sink.arrivals].filter(([subject]) => subjects.includes(subject)).sort(),
            subjects.map((subject) => [subject, 1]).sort(),
            "each once",
          );
          const mailbox = readFileSync(join(instance.mail, "nobody"), "latin1");
          t.equal(mailbox.split("Subject: half-one\n").length, 2, "a finished recipient is not served again");
          t.match(
            instance.maillog(),
            new RegExp(`: ${filled.held}: to=<"two two"@later\\.test>, .*status=bounced`),
          );
          t.match(
            instance.maillog(),
            new RegExp(`: ${filled.deferred}: to=<three@later\\.test>, .*status=sent`),
          );
          const corrupt = join(instance.queue, "corrupt");
          t.same(existsSync(corrupt) ? readdirSync(corrupt) : [], [], "nothing was found corrupt");
          t.notMatch(instance.maillog(), /corrupt|malformed|bad attribute|unexpected attribute|panic/);
        } catch (error) {
          throw new Error(
            `${error instanceof Error ? error.message : error}\n${instance.maillog().split("\n").slice(-40).join("\n")}`,
          );
        }
      },
    );

function startAgain(instance: Instance): void {
  const master = spawnSync(join(instance.directory, "programs/libexec/master"), ["-w"], {
    env: instance.environment,
  });
  if (master.status !== 0) throw new Error(`master: status ${master.status}`);
}

t.test("hashed, misplaced and renamed files: both postsupers do the same", skip, async (t) => {
  if ("missing" in programs) return;
  const results: Record<string, string[]> = {};
  for (const side of ["real", "ours"] as const) {
    const instance = await mixedInstance(
      t,
      programs,
      { base: "ours", swapped: [] },
      "header_checks = regexp:{ { /^Subject: hold/ HOLD } }\n",
    );
    const id = await submit(
      instance.smtpPort,
      ["MAIL FROM:<a@example.org>", "RCPT TO:<x@later.test>"],
      CONTENT("hold-two"),
    );
    await until("the held message", () => findFile(instance, "hold", id));
    await end(instance);
    const file = findFile(instance, "hold", id) ?? "";
    const copy = `${file}ABC`;
    spawnSync("cp", ["-p", file, copy]);
    writeFileSync(join(instance.queue, "hold", "bad.name"), "");
    writeFileSync(join(instance.queue, "incoming", "123.456"), "", { mode: 0o600 });
    spawnSync("touch", ["-d", "10 days ago", join(instance.queue, "incoming", "123.456")]);
    const text = of(side, programs, instance, "postsuper", ["-v", "-s", "-p"]).stderr;
    const masked = text
      .replaceAll(id.slice(0, 5), "XXXXX")
      .replace(/XXXXX[0-9A-F]+/g, "XXXXXINODE")
      .split("\n")
      .filter((line) => /renamed|removed|bogus|mismatch|Renamed|CHANGED/.test(line))
      .map((line) => line.replace(/^.*postsuper: /, "postsuper: "));
    results[side] = masked.sort();
    t.ok(
      masked.some((line) => line.includes("Renamed to match inode number: 1 message")),
      `${side}: ${masked.join("; ")}`,
    );
  }
  t.same(results.ours, results.real);
});
