/** smtp-sink -s: what syslog gets from ours is what it gets from the real one. */
import { spawn, spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { freePort, PROGRAMS, until } from "../system/support/harness.ts";
import { reference } from "./support/reference.ts";

const real = reference();
const possible = !("missing" in real) && spawnSync("unshare", ["-m", "true"]).status === 0;

/** In a mount namespace: a /dev with a log socket of the test's. FOLDER COMMAND... */
const OWN_DEV = `mount --make-rprivate /
for device in null zero random urandom; do : >"$1/dev/$device"; mount --bind /dev/$device "$1/dev/$device"; done
mount --rbind "$1/dev" /dev
shift
exec "$@"`;

/** What syslog and standard error hear of a session, without times and process ids. */
async function session(t: Test, program: string): Promise<{ syslog: string[]; errors: string }> {
  const folder = mkdtempSync(join(tmpdir(), "posthaste-syslog-"));
  chmodSync(folder, 0o755);
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  mkdirSync(join(folder, "dev"));
  let heard = "";
  const clients: Socket[] = [];
  const syslog = createServer((socket) => {
    clients.push(socket);
    socket.on("data", (chunk: Buffer) => {
      heard += chunk.toString("latin1");
    });
  });
  await new Promise<void>((resolve) => syslog.listen(join(folder, "log"), resolve));
  chmodSync(join(folder, "log"), 0o666);
  symlinkSync(join(folder, "log"), join(folder, "dev/log"));
  const port = await freePort();
  const args = ["-u", "nobody", "-s", "connect,helo,ehlo,mail,rcpt,data,.,quit,noop"];
  const command = [program, ...args, `127.0.0.1:${port}`, "10"];
  const child = spawn("unshare", ["-m", "/bin/sh", "-c", OWN_DEV, "sh", folder, ...command], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let errors = "";
  child.stderr.on("data", (chunk: Buffer) => {
    errors += chunk.toString("latin1");
  });
  const ended = new Promise((resolve) => child.on("close", resolve));

  let replies = "";
  let socket: Socket | undefined;
  await until("the sink", () => {
    if (socket === undefined || (socket.destroyed && replies === "")) {
      socket = connect(port, "127.0.0.1");
      socket.on("error", () => undefined);
      socket.on("data", (chunk: Buffer) => {
        replies += chunk.toString("latin1");
      });
    }
    return replies.includes("\n");
  });
  for (const line of [
    "EHLO c\xc3\xa9.test",
    "NOOP",
    "MAIL   FROM:<a@x>  SIZE=1 ",
    `rcpt to:<${"b".repeat(300)}@x>`,
    "DATA",
    "x\r\n.",
    "QUIT",
  ]) {
    const before = replies.length;
    socket?.write(`${line}\r\n`, "latin1");
    await until(line, () => /^\d{3} .*\r\n/m.test(replies.slice(before)));
  }
  await until("the last line", () => /quit/i.test(heard));
  child.kill();
  await ended;
  for (const client of clients) client.destroy();
  syslog.close();
  return {
    syslog: heard
      .split(/[\0\n]/)
      .filter((line) => line !== "")
      .map((line) => line.replace(/^(<\d+>)\w{3} [ \d]\d \d\d:\d\d:\d\d /, "$1").replace(/\[\d+\]/, "")),
    errors,
  };
}

t.test("-s", possible ? {} : { skip: "needs a real Postfix and mount namespaces" }, async (t) => {
  if ("missing" in real) return;
  const [ours, theirs] = await Promise.all(
    [PROGRAMS.multicall, join(real.sbin, "..")].map((folder) => session(t, join(folder, "sbin/smtp-sink"))),
  );
  t.ok((theirs?.syslog.length ?? 0) > 5);
  t.same(ours, theirs);
});
