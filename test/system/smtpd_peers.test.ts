/** smtpd(8) with servers that others wrote: a policy server under spawn(8), and a filter before the queue that gives mail back (SMTPD_PROXY_README). */
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createTransport } from "nodemailer";
import { SMTPServer } from "smtp-server";
import t from "tap";
import { sendMail } from "../../packaging/smtp_hello.ts";
import { freePort, logged, NEEDS_ROOT, runningInstance, troubles, until } from "./support/harness.ts";

/** Puts off whoever comes for the first time; one process answers many requests. */
const GREYLIST = `#!/bin/sh
sender= recipient= seen=" "
while IFS= read -r line; do
  case $line in
    sender=*) sender=\${line#*=} ;;
    recipient=*) recipient=\${line#*=} ;;
    "")
      case $seen in
        *" $sender/$recipient "*) echo "action=PREPEND X-Greylist: passed by $$" ;;
        *) seen="$seen$sender/$recipient "; echo "action=DEFER_IF_PERMIT come again" ;;
      esac
      echo ;;
  esac
done
`;

t.test("a policy server that spawn(8) starts is asked again and again", NEEDS_ROOT, async (t) => {
  const instance = await runningInstance(t, {
    stopped: true,
    mainCf: "smtpd_recipient_restrictions = check_policy_service unix:private/policy\n",
    masterCf: (directory) => `policy unix - n n - 0 spawn user=nobody argv=${directory}/greylist\n`,
  });
  const script = join(instance.directory, "greylist");
  writeFileSync(script, GREYLIST);
  chmodSync(script, 0o755);
  instance.start();
  const send = (from: string): Promise<string> =>
    sendMail(instance.smtpPort, from, "nobody@localhost", "Subject: x\r\n\r\nbody\r\n");
  const senders = ["a@example.org", "b@example.org", "c@example.org"];
  for (const sender of senders)
    await t.rejects(send(sender), /^expected 250, got 450 4\.7\.1 <nobody@localhost>/);
  for (const sender of senders) t.match(await send(sender), /^250 2.0.0 Ok: queued as /);
  const mailbox = join(instance.mail, "nobody");
  const marks = await until("the mail", () => {
    const found = existsSync(mailbox) ? readFileSync(mailbox, "latin1").match(/^X-Greylist: .*$/gm) : null;
    return found?.length === 3 && found;
  });
  t.equal(new Set(marks).size, 1, "one connection, one process of the policy server");
  t.same(troubles(instance), []);
});

for (const option of ["", "speed_adjust"])
  t.test(
    `mail through a filter before the queue and back${option === "" ? "" : `, with ${option}`}`,
    NEEDS_ROOT,
    async (t) => {
      const after = await freePort();
      const heard: Array<Record<string, unknown>> = [];
      const filter = new SMTPServer({
        authOptional: true,
        disabledCommands: ["AUTH", "STARTTLS"],
        useXForward: true,
        logger: false,
        onData(stream, session, done) {
          let text = "";
          stream.setEncoding("latin1");
          stream.on("data", (chunk: string) => {
            text += chunk;
          });
          stream.on("end", () => {
            heard.push(Object.fromEntries(session.xForward ?? []));
            if (text.includes("spam")) {
              done(Object.assign(new Error("5.7.1 no spam please"), { responseCode: 550 }));
              return;
            }
            const transport = createTransport({ host: "127.0.0.1", port: after, ignoreTLS: true });
            const from = session.envelope.mailFrom === false ? "" : session.envelope.mailFrom.address;
            const to = session.envelope.rcptTo.map(({ address }) => address);
            transport
              .sendMail({ envelope: { from, to }, raw: `X-Filter: seen\r\n${text}` })
              .then(() => done(null, "2.0.0 passed on"), done);
          });
        },
      });
      const port = await new Promise<number>((resolve) => {
        const listening = filter.listen(0, "127.0.0.1", () => {
          const address = listening.address();
          resolve(typeof address === "object" && address !== null ? address.port : 0);
        });
      });
      t.teardown(() => new Promise<void>((done) => filter.close(done)));
      const instance = await runningInstance(t, {
        mainCf: `smtpd_proxy_filter = 127.0.0.1:${port}\nsmtpd_proxy_options = ${option}\n`,
        masterCf: `127.0.0.1:${after} inet n - n - - smtpd -o smtpd_proxy_filter= -o smtpd_authorized_xforward_hosts=127.0.0.1\n`,
      });
      const send = (text: string): Promise<string> =>
        sendMail(instance.smtpPort, "a@example.org", "nobody@localhost", `Subject: x\r\n\r\n${text}\r\n`);
      t.equal(await send("..\r\nfine"), "250 2.0.0 passed on");
      await t.rejects(send("spam"), /550 5.7.1 no spam please/);
      const mailbox = join(instance.mail, "nobody");
      await until("the mail", () => existsSync(mailbox) && readFileSync(mailbox, "latin1").includes("fine"));
      t.match(
        readFileSync(mailbox, "latin1"),
        /^X-Filter: seen\nReceived: from client.posthaste.test .*^..\nfine$/ms,
      );
      t.equal(heard.length, 2);
      t.match(heard[0], { ADDR: "127.0.0.1", HELO: "client.posthaste.test", PROTO: "ESMTP" });
      await logged(
        instance,
        /proxy-accept: END-OF-MESSAGE: 250 2.0.0 passed on; from=<a@example.org> to=<nobody@localhost>/,
      );
      await logged(instance, /proxy-reject: END-OF-MESSAGE: 550 5.7.1 no spam please; /);
      t.same(troubles(instance), []);
    },
  );
