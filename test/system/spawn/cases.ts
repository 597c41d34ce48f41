/** What spawn(8) must do, whoever wrote it. */
import { connect } from "node:net";
import type { Test } from "tap";
import type { Instance } from "../../../packaging/instance.ts";
import { freePort, logged } from "../support/harness.ts";

const BAD: ReadonlyArray<readonly [service: string, words: string, problem: string]> = [
  ["nouser", "argv=/bin/true", "missing user= attribute"],
  ["noargv", "user=games", "missing argv= attribute"],
  ["root", "user=root argv=/bin/true", "request to deliver as root"],
  ["owner", "user=daemon argv=/bin/true", "request to deliver as mail system owner"],
  ["rootgroup", "user=games:root argv=/bin/true", "request to use privileged group id 0"],
  ["ownergroup", "user=games:daemon argv=/bin/true", "request to use mail system owner group id 1"],
  ["nobody", "user=no-such-user argv=/bin/true", "unknown user name: no-such-user"],
  ["nogroup", "user=games:no-such-group argv=/bin/true", "unknown group name: no-such-group"],
  ["attr", "user=games color=red argv=/bin/true", "unknown attribute name: color"],
];

export interface SpawnPorts {
  readonly echo: number;
  readonly facts: number;
}
export const choosePorts = async (): Promise<SpawnPorts> => ({
  echo: await freePort(),
  facts: await freePort(),
});

export const mainCf = "slow_time_limit = 1\n";
export const masterCf = (ports: SpawnPorts): string =>
  [
    `127.0.0.1:${ports.echo} inet n n n - 2 spawn user=games:games argv=cat`,
    `127.0.0.1:${ports.facts} inet n n n - 2 spawn user=games argv=/bin/sh -c {id; id -G; ls -l /proc/self/fd; readlink /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2; env | sort; pwd; grep Uid: /proc/self/status; cat /proc/self/status | grep SigIgn:}`,
    "exits unix - n n - 2 spawn user=games argv=/bin/sh -c {exit 3}",
    "dies unix - n n - 2 spawn user=games argv=/bin/sh -c {kill -9 $$}",
    "slow unix - n n - 2 spawn user=games argv=/bin/sh -c {trap '' TERM; sleep 100 & sleep 100}",
    "none unix - n n - 2 spawn user=games argv=/no/such/command",
    ...BAD.map(([service, words]) => `${service} unix - n n - 1 spawn ${words}`),
    "",
  ].join("\n");

/** Sends text, ends the sending side when `end` is set, and gives all that comes back. */
const talk = (target: { port: number } | { path: string }, text: string, end = true): Promise<string> =>
  new Promise((resolve, reject) => {
    let answer = "";
    const socket = connect("port" in target ? { ...target, host: "127.0.0.1" } : target);
    socket.setTimeout(20_000, () => socket.destroy(new Error("timeout")));
    socket.on("data", (chunk) => {
      answer += chunk.toString("latin1");
    });
    // a command that ends at once does not read
    socket.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EPIPE" || error.code === "ECONNRESET") resolve(answer);
      else reject(error);
    });
    socket.on("close", () => resolve(answer));
    socket.write(text);
    if (end) socket.end();
  });

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

export async function checkAll(t: Test, instance: Instance, ports: SpawnPorts): Promise<void> {
  await t.test("the connection is the command's standard input and output", async (t) => {
    t.equal(await talk({ port: ports.echo }, "hello\n"), "hello\n");
    const big = "0123456789abcdef\n".repeat(100_000);
    t.equal((await talk({ port: ports.echo }, big)) === big, true, "1.7 MB there and back");
    const many = await Promise.all(
      Array.from({ length: 10 }, (_, index) => talk({ port: ports.echo }, `${index}\n`)),
    );
    t.same(
      many,
      Array.from({ length: 10 }, (_, index) => `${index}\n`),
      "one after another",
    );
  });
  await t.test("DLV-05 DLV-09 ids, descriptors and environment of the command", async (t) => {
    const lines = (await talk({ port: ports.facts }, "")).split("\n");
    t.equal(lines[0], "uid=5(games) gid=60(games) groups=60(games)");
    t.equal(lines[1], "60");
    const descriptors = lines
      .filter((line) => / -> /.test(line))
      .map((line) => line.replace(/.* (\d+) -> .*/, "$1"));
    t.same(descriptors, ["0", "1", "2", "3"], "0, 1, 2 and ls's own");
    const sockets = lines.filter((line) => line.startsWith("socket:["));
    t.equal(sockets.length, 3);
    t.equal(new Set(sockets).size, 1, "one socket");
    t.same(
      lines.filter((line) => /^[A-Z_]+=/.test(line) && !/^(LANG|TZ|MAIL_CONFIG|PWD)=/.test(line)),
      ["PATH=/usr/bin:/bin"],
    );
    t.ok(lines.includes(instance.queue), "in the queue directory");
    t.ok(lines.includes("Uid:\t5\t5\t5\t5"));
  });
  await t.test("ends", async (t) => {
    t.equal(await talk({ path: `${instance.queue}/private/exits` }, ""), "");
    await logged(instance, /spawn\[\d+\]: warning: command \/bin\/sh exit status 3\n/);
    await talk({ path: `${instance.queue}/private/dies` }, "");
    await logged(instance, /spawn\[\d+\]: warning: command \/bin\/sh killed by signal 9\n/);
    await talk({ path: `${instance.queue}/private/none` }, "");
    await logged(
      instance,
      /spawn\[\d+\]: fatal: spawn_comand: execvp \/no\/such\/command: No such file or directory/,
    );
    const start = Date.now();
    await talk({ path: `${instance.queue}/private/slow` }, "", false);
    t.ok(Date.now() - start < 15_000, "the time limit ends it with all that it started");
  });
  for (const [service, , problem] of BAD)
    await t.test(`fatal: ${problem}`, async () => {
      await talk({ path: `${instance.queue}/private/${service}` }, "");
      await logged(instance, new RegExp(`spawn\\[\\d+\\]: fatal: ${escaped(problem)}`));
    });
}
