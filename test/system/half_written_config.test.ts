/** DUR-08: who starts while main.cf is being written in place waits for its end: each program sees the old file or the new one. */
import { execFile } from "node:child_process";
import { closeSync, openSync, utimesSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { runningInstance } from "./support/harness.ts";

t.setTimeout(120_000);

t.test("DUR-08 nobody runs with half a configuration", async (t) => {
  const instance = await runningInstance(t, { stopped: true });
  const file = join(instance.config, "main.cf");
  const text = (value: string): string =>
    `# ${value}\nmyhostname = mail.${value}.test\ncompatibility_level = 3.12\ninet_protocols = ipv4\nmail_owner = ${instance.who.mailOwner}\n` +
    `setgid_group = ${instance.who.setgidGroup}\nmail_name = ${value}\n${"# a comment\n".repeat(10)}relayhost = [${value}.test]:2525\nmaximal_queue_lifetime = 7d\n`;
  writeFileSync(file, text("old"));
  utimesSync(file, 1e9, 1e9);
  const outputs: string[] = [];
  const run = (name: string, args: ReadonlyArray<string>): Promise<void> =>
    new Promise((resolve) => {
      execFile(instance.program(name), args, { env: instance.environment }, (error, stdout, stderr) => {
        outputs.push(`${error?.code ?? 0} ${stdout.replaceAll("\n", " ")}${stderr}`);
        resolve();
      });
    });
  const started: Promise<void>[] = [];
  const start = (): void => {
    started.push(run("postconf", ["-h", "mail_name", "relayhost", "maximal_queue_lifetime"]));
    started.push(run("postmap", ["-q", "x", "inline:{ x=read }"]));
  };
  start();
  await Promise.all(started);
  const [bytes, fd] = [Buffer.from(text("new")), openSync(file, "w")];
  for (let at = 0; at < bytes.length; at++) {
    writeSync(fd, bytes, at, 1);
    if (at % 6 === 0) start();
    if (at % 4 === 0) await new Promise((resolve) => setTimeout(resolve, 20));
  }
  closeSync(fd);
  start();
  await Promise.all(started);
  t.ok(outputs.length >= 80, `${outputs.length} programs`);
  t.same(
    outputs.filter(
      (output) => !/^0 (?:(?:old \[old\.test\]:2525|new \[new\.test\]:2525) 7d|read) $/.test(output),
    ),
    [],
  );
  t.ok(outputs.some((output) => output.includes("old")) && outputs.some((output) => output.includes("new")));
});
