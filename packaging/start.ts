/** `npm start`: builds, makes a private instance under ./var, starts it, and shows a message by SMTP and one by sendmail delivered. */
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join, resolve } from "node:path";
import { Instance } from "./instance.ts";
import { sendMail } from "./smtp_hello.ts";

const ROOT = resolve(import.meta.dirname, "..");
const DIRECTORY = join(ROOT, "var", "demo");
const DELIVERY_SECONDS = 30;
const say = (text: string): void => console.log(text);

async function build(): Promise<void> {
  const child = Bun.spawn([process.execPath, "run", join(ROOT, "packaging/build.ts")], {
    cwd: ROOT,
    stdout: "inherit",
    stderr: "inherit",
  });
  if ((await child.exited) !== 0) process.exit(1);
}

/** The preferred port when nobody has it, else any free one. */
function freePort(preferred: number): Promise<number> {
  return new Promise((resolvePort, reject) => {
    const server = createServer();
    server.once("error", () => {
      if (preferred === 0) reject(new Error("no free port"));
      else resolvePort(freePort(0));
    });
    server.listen(preferred, "127.0.0.1", () => {
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : preferred;
      server.close(() => resolvePort(port));
    });
  });
}

async function delivered(
  instance: Instance,
  recipient: string,
  marks: ReadonlyArray<string>,
): Promise<string> {
  const mailbox = join(instance.mail, recipient);
  const deadline = Date.now() + DELIVERY_SECONDS * 1000;
  while (Date.now() < deadline) {
    const text = existsSync(mailbox) ? readFileSync(mailbox, "latin1") : "";
    if (marks.every((mark) => text.includes(mark))) return mailbox;
    await Bun.sleep(50);
  }
  console.error(`not delivered within ${DELIVERY_SECONDS} s; the mail log says:\n${instance.maillog()}`);
  return process.exit(1);
}

await build();
mkdirSync(join(ROOT, "var"), { recursive: true });
const instance = new Instance({
  directory: DIRECTORY,
  programs: join(ROOT, "dist"),
  smtpPort: await freePort(2525),
});
if (instance.run("postfix", ["status"]).status === 0) instance.stop();
instance.start();
say(`\nThe mail system runs (log: ${instance.log}).`);

const { recipient } = instance.who;
const mark = (how: string): string => `${how} ${Date.now()}.${process.pid}`;
const [bySmtp, bySendmail] = [mark("by SMTP"), mark("by sendmail")];
const reply = await sendMail(
  instance.smtpPort,
  "you@posthaste.test",
  `${recipient}@localhost`,
  `Subject: ${bySmtp}\r\n\r\nHello.\r\n`,
);
say(`A message by SMTP:     ${reply}`);
instance.must(
  "sendmail",
  ["-f", "you@posthaste.test", `${recipient}@localhost`],
  `Subject: ${bySendmail}\n\nHello.\n`,
);
say("A message by sendmail: accepted");
const mailbox = await delivered(instance, recipient, [`Subject: ${bySmtp}`, `Subject: ${bySendmail}`]);
say(`Both are delivered to ${mailbox}:\n`);
for (const line of readFileSync(mailbox, "latin1").split("\n"))
  if (/^(From |Subject: |Received: |Delivered-To: )/.test(line)) say(`  ${line}`);
const programs = readdirSync(join(ROOT, "dist", "sbin")).join(" ");
say(`
How to go on
  SMTP server      127.0.0.1 port ${instance.smtpPort}; mail for ${recipient}@localhost lands in ${mailbox}
  configuration    ${instance.config}/main.cf and master.cf
  commands         export MAIL_CONFIG=${instance.config}
                   ${join(ROOT, "dist", "sbin")}/ has: ${programs}
  the queue        dist/sbin/mailq
  stop             dist/sbin/postfix stop`);
