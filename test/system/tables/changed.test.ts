/** A table that changes while the system runs is in force for the next client, and no client is turned away for it. */
import { utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { sendMail } from "../../../packaging/smtp_hello.ts";
import { logged, runningInstance } from "../support/harness.ts";

t.test("the next client sees a changed table", async (t) => {
  const instance = await runningInstance(t, {
    stopped: true,
    mainCf: (directory) => `
virtual_alias_domains = valias.test
virtual_alias_maps = hash:${directory}/config/virtual
`,
  });
  const table = join(instance.config, "virtual");
  let age = 100;
  const write = (text: string): void => {
    writeFileSync(table, text);
    instance.must("postmap", [`hash:${table}`]);
    const time = new Date(Date.now() - --age * 1000);
    utimesSync(`${table}.db`, time, time);
  };
  write(`one@valias.test ${instance.who.recipient}@localhost\n`);
  instance.start();
  const message = "Subject: x\r\n\r\nx\r\n";
  await sendMail(instance.smtpPort, "a@example.org", "one@valias.test", message);
  for (const name of ["two", "three", "four"]) {
    await t.rejects(
      sendMail(instance.smtpPort, "a@example.org", `${name}@valias.test`, message),
      /550 5\.1\.1/,
    );
    write(`${name}@valias.test ${instance.who.recipient}@localhost\n`);
    await sendMail(instance.smtpPort, "a@example.org", `${name}@valias.test`, message);
    await logged(instance, new RegExp(`orig_to=<${name}@valias.test>.*status=sent`));
  }
  t.match(instance.maillog(), /table hash:\S+\(0,lock\|fold_fix\|utf8_request\) has changed -- restarting/);
});
