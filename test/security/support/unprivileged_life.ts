/** The life of an instance of whoever runs this: start, two deliveries, mailq, stop. Arguments: directory, programs, port. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Instance } from "../../../packaging/instance.ts";
import { sendMail } from "../../../packaging/smtp_hello.ts";

const [directory = "", programs = "", port = ""] = process.argv.slice(2);
const instance = new Instance({ directory, programs, smtpPort: Number(port) });
const { recipient } = instance.who;
const to = `${recipient}@localhost`;
instance.start();
try {
  await sendMail(instance.smtpPort, "a@example.org", to, "Subject: by SMTP\r\n\r\nbody\r\n");
  instance.must("sendmail", ["-f", "a@example.org", to], "Subject: by sendmail\n\nbody\n");
  const dialogue = `EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<${to}>\r\nDATA\r\nSubject: by -bs\r\n\r\nbody\r\n.\r\nQUIT\r\n`;
  console.log(instance.must("sendmail", ["-bs"], dialogue));
  const mailbox = join(instance.mail, recipient);
  const all = ["by SMTP", "by sendmail", "by -bs"];
  for (let tries = 0; tries < 400; tries++) {
    const text = existsSync(mailbox) ? readFileSync(mailbox, "latin1") : "";
    if (
      all.every((mark) => text.includes(`Subject: ${mark}\n`)) &&
      instance.must("mailq").startsWith("Mail queue is empty")
    )
      break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  console.log(existsSync(mailbox) ? readFileSync(mailbox, "latin1") : "no mailbox");
  console.log(instance.must("mailq"));
  console.log(`status ${instance.run("postfix", ["status"]).status}`);
} finally {
  instance.stop();
}
console.log(`status ${instance.run("postfix", ["status"]).status}`);
console.log(instance.maillog());
