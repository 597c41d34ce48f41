/** DUR-03: a file system that is full, on a small one of memory: soft errors outward, nothing half done, and work goes on when there is space again. */
import { execFileSync, spawnSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import t from "tap";
import { sendMail } from "../../packaging/smtp_hello.ts";
import { isRoot, queueFiles, runningInstance, stopInstance, until } from "./support/harness.ts";
import { crashes } from "./support/hostile.ts";

t.setTimeout(120_000);

/** Containers may forbid mounting. */
const MOUNTS = isRoot && spawnSync("unshare", ["-m", "mount", "-t", "tmpfs", "none", "/mnt"]).status === 0;

/** Writes until there is no space. */
function fill(path: string): void {
  const fd = openSync(path, "w");
  for (const size of [65536, 4096, 1])
    try {
      for (;;) writeSync(fd, Buffer.alloc(size));
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error;
    }
  closeSync(fd);
}

t.test("DUR-03 a full disk", MOUNTS ? {} : { skip: "needs to mount a file system" }, async (t) => {
  const place = { queue: "" };
  const instance = await runningInstance(t, {
    stopped: true,
    mainCf: (directory) => {
      place.queue = join(directory, "queue");
      mkdirSync(place.queue);
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=16m,mode=755", "none", place.queue]);
      return `queue_minfree = 0
message_size_limit = 1000000
queue_run_delay = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 2s
default_transport = discard:far
`;
    },
  });
  // before the directory is removed
  t.teardown(() => {
    stopInstance(instance);
    execFileSync("umount", ["-l", place.queue]);
  });
  t.equal(instance.queue, place.queue);
  instance.start();
  const to = `${instance.who.recipient}@localhost`;
  const text = (id: string, lines = 1): string =>
    `Subject: ${id}\r\n\r\n${`${"x".repeat(70)}\r\n`.repeat(lines)}`;
  t.match(await sendMail(instance.smtpPort, "a@b.test", to, text("before")), /^250 /);
  await until("delivery", () => existsSync(join(instance.mail, instance.who.recipient)));
  const ballast = join(place.queue, "ballast");
  fill(ballast);
  const refusals: string[] = [];
  for (let index = 0; index < 10; index++)
    refusals.push(
      await sendMail(instance.smtpPort, "a@b.test", to, text(`full ${index}`, 5000)).catch(String),
    );
  t.same(
    refusals.filter((reply) => !/45[12] 4\.3\.\d/.test(reply)),
    [],
    "soft errors",
  );
  const run = spawnSync(instance.program("sendmail"), ["-f", "a@b.test", to], {
    env: instance.environment,
    input: `Subject: full\n\n${"x\n".repeat(100_000)}`,
    timeout: 12_000,
    killSignal: "SIGKILL",
  });
  t.not(run.status, 0, "sendmail does not say that it took it");
  for (const queue of ["incoming", "active", "maildrop"])
    for (const name of queueFiles(instance, queue)) {
      const status = statSync(join(place.queue, queue, name), { throwIfNoEntry: false });
      t.ok(((status?.mode ?? 0) & 0o100) === 0, `${queue}/${name} is not complete`);
    }
  rmSync(ballast);
  let reply = "";
  for (let attempt = 0; attempt < 100 && !reply.startsWith("250 "); attempt++) {
    reply = await sendMail(instance.smtpPort, "a@b.test", to, text("after")).catch(String);
    if (!reply.startsWith("250 ")) await new Promise((resolve) => setTimeout(resolve, 200));
  }
  t.match(reply, /^250 /, "without help");
  await until("delivery afterwards", () =>
    readFileSync(join(instance.mail, instance.who.recipient), "latin1").includes("Subject: after"),
  );
  t.notMatch(readFileSync(join(instance.mail, instance.who.recipient), "latin1"), /Subject: full/);
  t.same(queueFiles(instance, "corrupt"), []);
  t.same(
    crashes(instance).filter((line) => !/exit status|bad command startup/.test(line)),
    [],
  );
});
