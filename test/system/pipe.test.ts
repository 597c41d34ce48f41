/** pipe(8) as a whole. */
import t from "tap";
import { sendMail } from "../../packaging/smtp_hello.ts";
import { checkAll, mainCf, masterCf, prepare } from "./pipe/cases.ts";
import { logged, NEEDS_ROOT, runningInstance } from "./support/harness.ts";

t.test("pipe", NEEDS_ROOT, async (t) => {
  const instance = await runningInstance(t, {
    mainCf: (directory) => {
      prepare(directory);
      return mainCf();
    },
    masterCf,
  });
  await checkAll(t, instance);
});

t.test("a command may open /dev/stdin, which Postfix's pipes forbid", NEEDS_ROOT, async (t) => {
  const instance = await runningInstance(t, {
    mainCf: "transport_maps = inline:{ { in.test = pipein: } }\n",
    masterCf: "pipein unix - n n - - pipe user=games argv=cat /dev/stdin\n",
  });
  await sendMail(instance.smtpPort, "a@b.test", "c@in.test", "X-Seen: yes\r\n\r\nbody\r\n");
  await logged(instance, /to=<c@in\.test>.*status=sent \(delivered via pipein service \(Received: .*\)\)/);
});

t.test("mail by UUCP, and a spam filter that gives mail back by sendmail", NEEDS_ROOT, async (t) => {
  const { chmodSync, readFileSync, writeFileSync, existsSync } = await import("node:fs");
  const { join } = await import("node:path");
  let folder = "";
  const instance = await runningInstance(t, {
    mainCf: (directory) => {
      folder = directory;
      return `transport_maps = inline:{ { uucp.test = uucp:neighbour } { filtered@localhost = spamfilter: } }
uucp_destination_recipient_limit = 10
local_recipient_maps =
`;
    },
    masterCf: (
      directory,
    ) => `uucp unix - n n - - pipe flags=Fqhu user=uucp argv=${directory}/uux -r -n -z -a$sender - $nexthop!rmail ($recipient)
spamfilter unix - n n - - pipe flags=Rq user=games argv=${directory}/filter -f \${sender} -- \${recipient}
`,
  });
  const script = (name: string, text: string): void => {
    writeFileSync(join(folder, name), text);
    chmodSync(join(folder, name), 0o755);
  };
  script(
    "uux",
    `#!/bin/sh\nfor a; do echo "[$a]"; done > /tmp/uux.$$; cat >> /tmp/uux.$$; mv /tmp/uux.$$ ${folder}/mail/uux.out\n`,
  );
  script(
    "filter",
    `#!/bin/sh\nsed '1,/^$/s/^Subject: /Subject: [checked] /' | ${instance.program("sendmail")} -G -i -f "$2" nobody@localhost || exit 75\n`,
  );
  await sendMail(
    instance.smtpPort,
    "Me@Here.test",
    ["One@UUCP.test", "two@uucp.test"],
    "Subject: x\r\n\r\nbody\r\n",
  );
  await logged(
    instance,
    /to=<two@uucp\.test>, relay=uucp, .*dsn=2\.0\.0, status=sent \(delivered via uucp service\)/,
  );
  const text = readFileSync(join(instance.mail, "uux.out"), "latin1");
  t.match(
    text,
    /^\[-r\]\n\[-n\]\n\[-z\]\n\[-aMe@Here\.test\]\n\[-\]\n\[neighbour!rmail\]\n\[\(one@uucp\.test\)\]\n\[\(two@uucp\.test\)\]\nFrom Me@Here\.test {2}/,
  );
  await sendMail(instance.smtpPort, "me@here.test", "filtered@localhost", "Subject: x\r\n\r\nbody\r\n");
  await logged(instance, /to=<nobody@localhost>, relay=local, .*status=sent \(delivered to mailbox\)/);
  const mailbox = join(instance.mail, "nobody");
  t.ok(existsSync(mailbox));
  t.match(readFileSync(mailbox, "latin1"), /\nSubject: \[checked\] x\n/);
});
