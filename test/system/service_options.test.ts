/** Options of daemons that master.cf may give, or that master gives. */
import { spawn } from "node:child_process";
import { connect } from "node:net";
import { join } from "node:path";
import t from "tap";
import type { Instance } from "../../packaging/instance.ts";
import { daemons, logged, PROGRAMS, runningInstance, until } from "./support/harness.ts";

/** Asks for the queue and reads the answer to its end. */
const ask = (instance: Instance, service: string): Promise<void> =>
  new Promise((resolve, reject) => {
    const socket = connect(join(instance.queue, "public", service));
    socket
      .on("error", reject)
      .on("close", () => resolve())
      .resume();
  });

t.test("-m and -i end a process, -v says more, -o is for one service alone", async (t) => {
  const instance = await runningInstance(t, {
    masterCf: `showq unix n - n - - showq -o service_client_limit=1 -m 2
idle unix n - n - - showq -i 1
talk unix n - n - - showq -v -v
syslog unix n - n - - showq -o syslog_name=other
`,
  });
  await ask(instance, "showq");
  const first = daemons(instance, "showq");
  t.equal(first.length, 1);
  await ask(instance, "showq");
  await until("the end after two clients", () => !daemons(instance, "showq").includes(first[0] ?? 0));
  await ask(instance, "idle");
  await until("the end after a second without clients", () => daemons(instance, "showq").length === 0);
  await ask(instance, "syslog");
  await ask(instance, "talk");
  const [pid] = await until("a talkative one", () => {
    const found = daemons(instance, "showq");
    return found.length === 2 && found;
  });
  t.ok(pid !== undefined);
  instance.must("postfix", ["reload"]);
  await logged(instance, /postfix\/showq\[\d+\]: master disconnect -- exiting/);
  t.notMatch(instance.maillog(), /other\/showq\[\d+\]: master disconnect/, "the others say less");
});

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const run = (instance: Instance, program: string, ...args: string[]): Promise<Ended> =>
  new Promise((resolve) => {
    const child = spawn(join(PROGRAMS.multicall, "libexec", program), args, { env: instance.environment });
    const text = { stdout: "", stderr: "" };
    child.stdout.on("data", (chunk: Buffer) => (text.stdout += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (text.stderr += chunk.toString()));
    child.stdin.end();
    child.on("close", (status) => resolve({ status, ...text }));
  });

t.test("-l, -n, -s, -t, -u, -z: what does not fit is refused", async (t) => {
  const instance = await runningInstance(t, { stopped: true });
  const refusals: ReadonlyArray<readonly [string, ReadonlyArray<string>, string]> = [
    ["qmgr", ["-t", "unix", "-n", "qmgr"], "service qmgr requires a process limit of 1"],
    ["cleanup", ["-t", "unix", "-n", "cleanup"], "service cleanup requires a process limit of 0"],
    ["cleanup", ["-t", "fifo", "-z"], "unsupported transport type: fifo"],
    ["showq", [], "no transport type specified"],
    ["showq", ["-t", "unix", "-s", "0"], "invalid socket_count: 0"],
    ["showq", ["-t", "unix", "-s", "x"], "invalid socket_count: x"],
    ["local", ["-t", "unix", "-u"], "service local requires privileged operation"],
    ["smtpd", ["-t", "inet", "stray"], "unexpected command-line argument: stray"],
    ["showq", ["-r", "x"], "invalid retirement time: x"],
    ["showq", ["-q"], "invalid option: q"],
  ];
  await Promise.all(
    refusals.map(async ([program, args, problem]) => {
      const { status, stderr } = await run(instance, program, "-V", ...args);
      t.same(
        [status, stderr],
        [1, `postfix/${program}: fatal: ${problem}\n`],
        `${program} ${args.join(" ")}`,
      );
    }),
  );
});

t.test("-S serves standard input, and -V shows the log", async (t) => {
  const instance = await runningInstance(t);
  const { status, stdout, stderr } = await run(
    instance,
    "smtpd",
    "-S",
    "-V",
    "-o",
    "smtpd_banner=hello there",
  );
  t.equal(status, 0);
  t.match(stdout, /^220 hello there\r\n/);
  t.match(stderr, /^postfix\/smtpd: (?:NOQUEUE: lost connection|connect from)/m);
});
