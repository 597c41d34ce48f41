/** An instance whose daemons are partly ours and partly the real Postfix's, and the mail that shows that all of them work together. */

import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { Test } from "tap";
import type { Instance } from "../../../packaging/instance.ts";
import { sendMail } from "../../../packaging/smtp_hello.ts";
import {
  logged,
  masterPid,
  PROGRAMS,
  processesOfGroup,
  runningInstance,
  until,
} from "../../system/support/harness.ts";
import { CountingSink } from "../../system/support/load.ts";
import type { Reference } from "./reference.ts";

/** Daemons that exist in both systems. */
export const SHARED_DAEMONS = [
  "anvil",
  "bounce",
  "cleanup",
  "discard",
  "error",
  "flush",
  "local",
  "master",
  "pickup",
  "postlogd",
  "proxymap",
  "qmgr",
  "showq",
  "smtp",
  "smtpd",
  "trivial-rewrite",
  "virtual",
] as const;
export type SharedDaemon = (typeof SHARED_DAEMONS)[number];
export const SHARED_COMMANDS = [
  "postalias",
  "postcat",
  "postconf",
  "postdrop",
  "postkick",
  "postlock",
  "postlog",
  "postmap",
  "postqueue",
  "postsuper",
  "sendmail",
] as const;

export interface Mixture {
  /** Whose programs are the rule. */
  readonly base: "ours" | "real";
  /** Programs that come from the other system. */
  readonly swapped: ReadonlyArray<string>;
}

/** A started instance with programs of both. */
export async function mixedInstance(
  t: Test,
  programs: Reference,
  mixture: Mixture,
  mainCf: string | ((directory: string) => string) = "",
  masterCf: (directory: string) => string = () => "",
  prepare: (instance: Instance) => void = () => undefined,
): Promise<Instance> {
  const instance = await runningInstance(t, {
    stopped: true,
    mainCf: (directory) => {
      const folder = join(directory, "programs");
      gather(folder, programs, mixture);
      const given = typeof mainCf === "string" ? mainCf : mainCf(directory);
      const settings = `daemon_directory = ${folder}/libexec\ncommand_directory = ${folder}/sbin\nsmtp_tls_security_level = none\n${common(directory)}`;
      const kept = settings.split("\n").filter((line) => !given.includes(`${line.split(" =", 1)[0]} =`));
      return `${kept.join("\n")}\n${given}`;
    },
    masterCf: (directory) =>
      (mixture.base === "real" || mixture.swapped.includes("smtp")
        ? "scache unix - - n - 1 scache\ntlsmgr unix - - n 1000? 1 tlsmgr\n"
        : "") + masterCf(directory),
  });
  // our own command lays the directories out; then the mixture's master starts
  instance.must("postfix", ["check"]);
  prepare(instance);
  startMaster(instance);
  t.teardown(async () => {
    const pid = masterPid(instance);
    try {
      process.kill(pid, "SIGTERM");
    } catch {
      // it is gone already
    }
  });
  return instance;
}

const common = (directory: string): string => `
virtual_mailbox_domains = vbox.test
virtual_mailbox_base = ${directory}/mail
virtual_mailbox_maps = inline:{ { you@vbox.test = vbox } }
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_minimum_uid = 1
transport_maps = inline:{ { trash.test = discard:thrown away } { broken.test = error:5.2.1 broken by design } { slow.test = retry:4.2.1 slow by design } }
relay_domains = elsewhere.test, trash.test, broken.test, slow.test
fast_flush_domains = slow.test
`;

function gather(folder: string, programs: Reference, mixture: Mixture): void {
  const ours = { libexec: join(PROGRAMS.multicall, "libexec"), sbin: join(PROGRAMS.multicall, "sbin") };
  for (const kind of ["libexec", "sbin"] as const) {
    mkdirSync(join(folder, kind), { recursive: true });
    const names: ReadonlyArray<string> =
      kind === "libexec"
        ? [...SHARED_DAEMONS, "lmtp", "nbdb_reindexd", "oqmgr", "pipe", "scache", "spawn", "tlsmgr", "verify"]
        : SHARED_COMMANDS;
    for (const name of names) {
      const swapped = mixture.swapped.includes(name === "lmtp" ? "smtp" : name);
      const fromOurs = (mixture.base === "ours") !== swapped;
      const source = join((fromOurs ? ours : programs)[kind], name);
      if (existsSync(source)) symlinkSync(source, join(folder, kind, name));
    }
  }
}

/** Ends the running programs and goes on with another mixture on the same queue. `change` edits main.cf. */
export async function continueWith(
  instance: Instance,
  programs: Reference,
  mixture: Mixture,
  change: (mainCf: string) => string = (text) => text,
): Promise<void> {
  await end(instance);
  const folder = join(instance.directory, "programs");
  rmSync(folder, { recursive: true });
  gather(folder, programs, mixture);
  const file = join(instance.config, "main.cf");
  writeFileSync(file, change(readFileSync(file, "latin1")));
  const past = new Date(Date.now() - 10_000);
  utimesSync(file, past, past);
  startMaster(instance);
}

/** Ends master and all its processes. */
export async function end(instance: Instance): Promise<void> {
  const master = masterPid(instance);
  process.kill(master, "SIGTERM");
  await until("the end of the mail system", () => processesOfGroup(master).length === 0);
}

/** Files in the instance's folder `etc` take the place of the machine's. */
function startMaster(instance: Instance): void {
  const etc = join(instance.directory, "etc");
  const own = existsSync(etc) ? readdirSync(etc) : [];
  const script = 'cd "$0" && for file in *; do mount --bind "$file" "/etc/$file" || exit; done && exec "$@"';
  const namespace = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, etc];
  const [program = "", ...args] = [
    ...(own.length === 0 ? [] : namespace),
    join(instance.directory, "programs/libexec/master"),
    "-w",
  ];
  const master = spawnSync(program, args, { env: instance.environment });
  if (master.status !== 0)
    throw new Error(`master: status ${master.status}\n${master.stderr}\n${instance.maillog()}`);
}

/** Runs a command of the mixture. */
export function command(
  instance: Instance,
  name: string,
  args: ReadonlyArray<string> = [],
  input = "",
): { status: number | null; stdout: string; stderr: string } {
  const result = spawnSync(join(instance.directory, "programs/sbin", name), [...args], {
    env: instance.environment,
    input,
    timeout: 60_000,
  });
  return {
    status: result.status,
    stdout: result.stdout.toString("latin1"),
    stderr: result.stderr.toString("latin1"),
  };
}

/** Mail through every delivery agent, by SMTP and by sendmail; throws when something does not arrive. */
export async function exercise(t: Test, instance: Instance): Promise<void> {
  try {
    await sendThroughAll(t, instance);
  } catch (error) {
    throw new Error(
      `${error instanceof Error ? error.message : error}\n${instance.maillog().split("\n").slice(-60).join("\n")}`,
    );
  }
}

async function sendThroughAll(t: Test, instance: Instance): Promise<void> {
  const sink = new CountingSink();
  const sinkPort = await sink.listen();
  t.teardown(() => sink.close());
  const message = (subject: string): string =>
    `From: a@example.org\r\nSubject: ${subject}\r\nX-Load-Id: ${subject}\r\n\r\nbody of ${subject}\r\n`;
  const deliver = (to: string, subject: string): Promise<string> =>
    sendMail(instance.smtpPort, "a@example.org", to, message(subject));
  const content = (name: string): string => {
    const path = join(instance.mail, name);
    return existsSync(path) ? readFileSync(path, "latin1") : "";
  };

  await deliver("nobody@localhost", "by-smtp");
  await until("local delivery", () => content("nobody").includes("body of by-smtp"));
  const sent = command(
    instance,
    "sendmail",
    ["-f", "nobody@localhost", "nobody@localhost"],
    "Subject: by-sendmail\n\nbody of by-sendmail\n",
  );
  t.equal(sent.status, 0, "sendmail takes a message");
  await until("delivery of what sendmail sent", () => content("nobody").includes("body of by-sendmail"));
  await deliver("you@vbox.test", "virtual-one");
  await until("virtual delivery", () => content("vbox").includes("body of virtual-one"));
  await deliver("x@trash.test", "discarded");
  await logged(instance, /to=<x@trash\.test>, relay=none, .*status=sent \(thrown away\)/);
  command(instance, "sendmail", ["-f", "nobody@localhost", "x@broken.test"], "Subject: bounced\n\nbody\n");
  await logged(
    instance,
    /to=<x@broken\.test>, relay=none, .*dsn=5\.2\.1, status=bounced \(broken by design\)/,
  );
  await until("the bounce", () => content("nobody").includes("Diagnostic-Code: X-Postfix; broken by design"));
  command(
    instance,
    "sendmail",
    ["-f", "nobody@localhost", "x@slow.test"],
    "Subject: deferred\n\nbody of deferred\n",
  );
  const [, id = ""] = await logged(
    instance,
    /: ([0-9A-F]+): to=<x@slow\.test>, relay=none, .*dsn=4\.2\.1, status=deferred \(slow by design\)/,
  );
  await until("the deferred queue", () => command(instance, "postqueue", ["-p"]).stdout.includes(`${id} `));
  t.match(
    command(instance, "postqueue", ["-j"]).stdout,
    new RegExp(
      `"queue_name": "deferred", "queue_id": "${id}".*"address": "x@slow.test", "delay_reason": "slow by design"`,
    ),
  );
  t.match(command(instance, "postcat", ["-q", id]).stdout, /\*\*\* MESSAGE CONTENTS .*body of deferred/s);

  t.equal(command(instance, "postsuper", ["-d", "ALL"]).status, 0);
  await relay(instance, sinkPort, sink);
}

/** A message through smtp(8) to another server. */
async function relay(instance: Instance, sinkPort: number, sink: CountingSink): Promise<void> {
  const master = masterPid(instance);
  const { appendFileSync, utimesSync } = await import("node:fs");
  const file = join(instance.config, "main.cf");
  appendFileSync(file, `relayhost = [127.0.0.1]:${sinkPort}\n`);
  const past = new Date(Date.now() - 10_000);
  utimesSync(file, past, past);
  process.kill(master, "SIGHUP");
  await logged(instance, /reload -- version/);
  await sendMail(
    instance.smtpPort,
    "a@example.org",
    "z@faraway.test",
    "Subject: out\r\nX-Load-Id: out\r\n\r\nbody\r\n",
  );
  await until("the relayed message", () => sink.arrivals.get("out") === 1);
  await logged(instance, /to=<z@faraway\.test>, relay=127\.0\.0\.1\[127\.0\.0\.1\]:\d+, .*status=sent \(250/);
}
