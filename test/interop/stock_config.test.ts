/** Debian's stock main.cf and master.cf with our programs: only directories, ports and the owner of the mail system are adapted. */
import { existsSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { REFERENCE } from "../../packaging/debian_packages.ts";
import type { Instance } from "../../packaging/instance.ts";
import { sendMail } from "../../packaging/smtp_hello.ts";
import {
  logged,
  masterPid,
  queueFiles,
  runningInstance,
  troubles,
  until,
} from "../system/support/harness.ts";
import { reference } from "./support/reference.ts";

const programs = reference();
const skip = "missing" in programs ? { skip: programs.missing } : {};
const stock = (name: string): string => readFileSync(join(REFERENCE, name), "latin1");

/** Changes the value of a parameter where it stands, or adds it at the end. */
function set(mainCf: string, name: string, value: string): string {
  const pattern = new RegExp(`^${name} *=.*$`, "m");
  return pattern.test(mainCf)
    ? mainCf.replace(pattern, `${name} = ${value}`)
    : `${mainCf}${name} = ${value}\n`;
}

/** Puts Debian's files in place of the instance's own. */
function useStock(instance: Instance, mainCf: string): void {
  const own = readFileSync(join(instance.config, "main.cf"), "latin1");
  const value = (name: string): string => new RegExp(`^${name} = (.*)$`, "m").exec(own)?.[1] ?? "";
  let text = mainCf;
  for (const name of [
    "queue_directory",
    "data_directory",
    "command_directory",
    "daemon_directory",
    "meta_directory",
    "shlib_directory",
    "sendmail_path",
    "mailq_path",
    "newaliases_path",
    "mail_owner",
    "setgid_group",
    "default_privs",
    "maillog_file",
    "maillog_file_prefixes",
    "maillog_file_permissions",
    "mail_spool_directory",
    "maildrop_world_writable",
  ])
    text = set(text, name, value(name));
  text = set(text, "alias_database", `cdb:${instance.config}/aliases`);
  text = set(text, "inet_interfaces", "loopback-only");
  writeFileSync(join(instance.config, "main.cf"), text);
  writeFileSync(
    join(instance.config, "master.cf"),
    stock("etc/postfix/master.cf.proto").replace(/^smtp {6}inet /m, `127.0.0.1:${instance.smtpPort} inet `),
  );
  writeFileSync(
    join(instance.config, "aliases"),
    "# See man 5 aliases for format\npostmaster:    root\nroot: nobody\nlist: nobody, daemon\n",
  );
  const past = new Date(Date.now() - 10_000);
  for (const name of ["main.cf", "master.cf", "aliases"]) utimesSync(join(instance.config, name), past, past);
}

const mailbox = (instance: Instance, user: string): string => {
  const path = join(instance.mail, user);
  return existsSync(path) ? readFileSync(path, "latin1") : "";
};

async function useIt(t: Test, instance: Instance): Promise<void> {
  t.equal(instance.run("postfix", ["check"]).stderr.toString(), "", "check has nothing to say");
  t.equal(instance.run("newaliases").stderr.toString(), "");
  const start = instance.run("postfix", ["start"]);
  t.equal(start.stderr.toString(), "postlog: starting the Postfix mail system\n");
  t.equal(start.status, 0);
  const host = instance.must("postconf", ["-h", "myhostname"]).trim();
  for (const [index, to] of [
    "nobody@localhost",
    `root@${host}`,
    "postmaster@localhost",
    `list@${host}`,
  ].entries())
    await sendMail(
      instance.smtpPort,
      "someone@example.org",
      to,
      `Subject: stock ${index}\r\n\r\nbody ${index}\r\n`,
    );
  instance.must("sendmail", ["-t"], "To: root\nSubject: stock sendmail\n\nbody\n");
  await until("delivery", () =>
    ["0", "1", "2", "3", "sendmail"].every((each) =>
      mailbox(instance, "nobody").includes(`Subject: stock ${each}\n`),
    ),
  );
  await until("delivery to the second member of the list", () =>
    mailbox(instance, "daemon").includes("Subject: stock 3\n"),
  );
  await t.rejects(sendMail(instance.smtpPort, "someone@example.org", `nosuchuser@${host}`, "x\r\n"), {
    message: /550 5\.1\.1 .*User unknown in local recipient table/,
  });
  // a bounce, made by an unknown user behind an alias
  instance.must("sendmail", ["-f", "root", `nosuchuser@${host}`], "Subject: to bounce\n\nbody\n");
  await until("the bounce", () =>
    mailbox(instance, "nobody").includes("Undelivered Mail Returned to Sender"),
  );
  const master = masterPid(instance);
  const reload = instance.run("postfix", ["reload"]);
  t.equal(reload.stderr.toString(), "postlog: refreshing the Postfix mail system\n");
  await logged(instance, /reload -- version/);
  await sendMail(
    instance.smtpPort,
    "someone@example.org",
    "nobody@localhost",
    "Subject: stock reloaded\r\n\r\nbody\r\n",
  );
  await until("delivery", () => mailbox(instance, "nobody").includes("Subject: stock reloaded\n"));
  t.equal(masterPid(instance), master);
  t.equal(instance.must("mailq"), "Mail queue is empty\n");
  t.same(queueFiles(instance, "corrupt"), []);
}

for (const file of ["usr/share/postfix/main.cf.debian", "etc/postfix/main.cf"] as const)
  t.test(`${file}, master.cf.proto`, skip, async (t) => {
    const instance = await runningInstance(t, { stopped: true });
    useStock(instance, stock(file));
    await useIt(t, instance);
    t.same(troubles(instance), [], "no warnings");
    t.equal(instance.run("postconf", ["-n"]).stderr.toString(), "", "postconf has nothing to warn about");
    t.match(instance.must("postconf", ["-M"]), /^tlsmgr +unix +- +- +n +1000\? +1 +tlsmgr$/m);
    const stop = instance.run("postfix", ["stop"]);
    t.equal(stop.status, 0);
  });

t.test("with the TLS settings that Debian's installation adds", skip, async (t) => {
  const instance = await runningInstance(t, { stopped: true });
  useStock(instance, stock("usr/share/postfix/main.cf.debian") + stock("usr/share/postfix/main.cf.tls"));
  await useIt(t, instance);
  const other = troubles(instance).filter((line) => !/TLS|tls/.test(line));
  t.same(other, [], "nothing but TLS is mentioned");
  t.notOk(
    troubles(instance).some((line) => /fatal|panic|throttling/.test(line)),
    "and nothing fails for it",
  );
});

t.test("the stock master.cf, with every service that is there, as a whole", skip, async (t) => {
  const instance = await runningInstance(t, { stopped: true });
  useStock(instance, stock("usr/share/postfix/main.cf.debian"));
  t.equal(
    stock("etc/postfix/master.cf.proto"),
    stock("usr/share/postfix/master.cf.dist"),
    "Debian's two copies are the same",
  );
  instance.start();
  const services = stock("etc/postfix/master.cf.proto")
    .split("\n")
    .filter((line) => /^[a-z]/.test(line))
    .map((line) => line.split(/\s+/));
  for (const [name = "", type = "", isPrivate = "", , , , , command = ""] of services) {
    if (type === "inet") continue;
    const folder = isPrivate === "n" ? "public" : "private";
    t.ok(existsSync(join(instance.queue, folder, name)), `${folder}/${name}`);
    t.ok(command !== "");
  }
  t.same(troubles(instance), []);
});
