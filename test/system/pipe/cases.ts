/** What pipe(8) must do, whoever wrote it: services, mail, and the log lines and arguments that follow. */
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Test } from "tap";
import type { Instance } from "../../../packaging/instance.ts";
import { sendMail } from "../../../packaging/smtp_hello.ts";
import { logged, until } from "../support/harness.ts";

/** A command that tells what it was given. */
const PROBE = `#!/bin/sh
{ pwd; id; echo "n=$#"; for a; do echo "[$a]"; done; env | sort; echo; cat; } > OUT.new 2>&1
mv OUT.new OUT
`;

export function prepare(directory: string): void {
  const folder = join(directory, "pipe");
  mkdirSync(folder, { recursive: true });
  chmodSync(folder, 0o777);
  const script = join(folder, "probe");
  writeFileSync(script, PROBE.replaceAll("OUT", join(folder, "out")));
  chmodSync(script, 0o755);
  // what a fork bomb of a spam filter looks like to its caller: it ignores SIGTERM and leaves a child
  writeFileSync(join(folder, "stubborn"), "#!/bin/sh\ntrap '' TERM\nsleep 1000 &\nsleep 1000\n");
  chmodSync(join(folder, "stubborn"), 0o755);
  writeFileSync(join(folder, "plain"), "cat >/dev/null; echo no interpreter line\n");
  chmodSync(join(folder, "plain"), 0o755);
}

export const masterCf = (directory: string): string => {
  const folder = join(directory, "pipe");
  const macros =
    "${recipient} ${user} ${extension} ${mailbox} ${domain} ${nexthop} ${sender} ${original_recipient} ${client_address} ${client_hostname} ${client_helo} ${client_protocol} ${envid} x${sasl_username}x $$ a$(user)b";
  return [
    `pipeex unix - n n - - pipe flags=DROXBhqu> user=games:games eol=\\n directory=${folder} argv=${folder}/probe ${macros}`,
    `pipemulti unix - n n - - pipe flags=F. user=games argv=${folder}/probe -f \${sender} -- $recipient const`,
    `pipebad unix - n n - - pipe user=games argv=${folder}/probe $foo`,
    `pipesize unix - n n - - pipe user=games size=20 argv=${folder}/probe`,
    `pipenull unix - n n - - pipe flags=FR user=games null_sender= argv=${folder}/probe <\${sender}>`,
    `pipeempty unix - n n - - pipe user=games argv=${folder}/probe -u $user -d $domain x\${extension}y $extension end`,
    `pipecr unix - n n - - pipe USER=games EOL=\\015\\n Flags=R argv=${folder}/probe`,
    `pipeone unix - n n - - pipe flags=D user=games argv=${folder}/probe`,
    `pipedir unix - n n - - pipe user=games directory=/root argv=${folder}/probe`,
    `pipejail unix - n n - - pipe user=games chroot=/ directory=/usr argv=${folder}/probe`,
    `pipenone unix - n n - - pipe user=games argv=/no/such/command`,
    `pipeplain unix - n n - - pipe user=games argv=${folder}/plain`,
    `pipesh unix - n n - - pipe user=games argv=sh -c \${nexthop}`,
    `pipeslow unix - n n - - pipe user=games argv=${folder}/stubborn`,
    `pipefds unix - n n - - pipe user=games argv=sh -c \${nexthop}`,
    "pipenouser unix - n n - 1 pipe argv=/bin/true",
    "pipenoargv unix - n n - 1 pipe user=games",
    "piperoot unix - n n - 1 pipe user=root argv=/bin/true",
    "pipeowner unix - n n - 1 pipe user=daemon argv=/bin/true",
    "piperootgroup unix - n n - 1 pipe user=games:root argv=/bin/true",
    "pipeownergroup unix - n n - 1 pipe user=games:daemon argv=/bin/true",
    "pipemailgroup unix - n n - 1 pipe user=games:mail argv=/bin/true",
    "pipenobody unix - n n - 1 pipe user=no-such-user argv=/bin/true",
    "pipenogroup unix - n n - 1 pipe user=games:no-such-group argv=/bin/true",
    "pipeflag unix - n n - 1 pipe flags=DZ user=games argv=/bin/true",
    "pipeattr unix - n n - 1 pipe user=games colour=red argv=/bin/true",
    "pipebadsize unix - n n - 1 pipe user=games size=big argv=/bin/true",
    "",
  ].join("\n");
};

/** Commands for /bin/sh, by the user part of the address, and the log line's end. */
const SHELL: ReadonlyArray<readonly [user: string, command: string, outcome: string]> = [
  ["e64", "exit 64", "dsn=5.3.0, status=bounced (command line usage error)"],
  ["e67", "echo who; exit 67", "dsn=5.1.1, status=bounced (user unknown. Command output: who )"],
  ["e75", "exit 75", "dsn=4.3.0, status=deferred (temporary failure)"],
  ["e78", "exit 78", "dsn=5.3.5, status=bounced (local configuration error)"],
  ["e1", "exit 1", 'dsn=5.3.0, status=bounced (Command died with status 1: "sh")'],
  ["dsn5", "echo 5.1.6 gone away; exit 1", "dsn=5.1.6, status=bounced (gone away )"],
  ["dsn4", "echo 4.2.2 full; exit 67", "dsn=4.2.2, status=deferred (full )"],
  ["dsn2", "echo 2.0.0 fine; exit 1", "dsn=5.0.0, status=bounced (fine )"],
  ["kill", "kill -9 $$$$", 'dsn=4.3.0, status=deferred (Command died with signal 9: "sh")'],
  [
    "out",
    "cat >/dev/null; echo hello; echo you",
    "dsn=2.0.0, status=sent (delivered via pipesh service (hello you))",
  ],
  ["noread", "exit 0", "dsn=2.0.0, status=sent (delivered via pipesh service)"],
  [
    "both",
    "cat >/dev/null; echo a; echo b >&2; echo c",
    "dsn=2.0.0, status=sent (delivered via pipesh service (a b c))",
  ],
];

export const mainCf = (): string => `
pipesh_destination_recipient_limit = 1
pipeex_destination_recipient_limit = 1
pipeslow_time_limit = 1
recipient_delimiter = +
message_strip_characters =
transport_maps = inline:{ ${SHELL.map(([user, command]) => `{ ${user}@sh.test = pipesh:${command} }`).join(" ")}
  { fds@sh.test = pipefds:ls -l /proc/self/fd | wc -l; id -G; ulimit -c; grep Uid: /proc/self/status }
  ${[
    "pipeex",
    "pipemulti",
    "pipebad",
    "pipesize",
    "pipenull",
    "pipeempty",
    "pipecr",
    "pipeone",
    "pipedir",
    "pipejail",
    "pipenone",
    "pipeplain",
    "pipeslow",
    "pipenouser",
    "pipenoargv",
    "piperoot",
    "pipeowner",
    "piperootgroup",
    "pipeownergroup",
    "pipemailgroup",
    "pipenobody",
    "pipenogroup",
    "pipeflag",
    "pipeattr",
    "pipebadsize",
  ]
    .map((name) => `{ ${name}.test = ${name}: }`)
    .join("\n  ")} }
`;

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

const MESSAGE =
  "From: a@b\r\nTo: c@d\r\nMessage-Id: <fixed@id>\r\nDate: now\r\n\r\nFrom here\r\n.dot\r\nbody\r\n";

/** Sends mail to every service and checks what comes of it. */
export async function checkAll(t: Test, instance: Instance): Promise<void> {
  const out = join(instance.directory, "pipe/out");
  const send = async (to: string | string[], from = "sender@remote.example"): Promise<void> => {
    rmSync(out, { force: true });
    await sendMail(instance.smtpPort, from, to, MESSAGE);
  };
  const told = (): Promise<string[]> =>
    until("the command's report", () => existsSync(out) && readFileSync(out, "latin1")).then((text) =>
      text.replace(/\n\tid [^\n]*/g, "").split("\n"),
    );
  const status = (to: string, rest: string): Promise<unknown> =>
    logged(
      instance,
      new RegExp(
        `pipe\\[\\d+\\]: [0-9A-F]+: to=<${escaped(to)}>, relay=pipe\\w+, delay=\\S+, delays=\\S+, ${escaped(rest)}\\n`,
      ),
    );
  const environment = (lines: string[]): string[] =>
    lines.filter((line) => /^[A-Z_]+=/.test(line)).map((line) => line.replace(/=.*/, ""));

  await t.test("all macros and flags", async (t) => {
    await send('"A B+Ext"@PIPEEX.test');
    await status('"A B+Ext"@PIPEEX.test', "dsn=2.0.0, status=sent (delivered via pipeex service)");
    const lines = await told();
    t.equal(lines[0], join(instance.directory, "pipe"), "directory=");
    t.equal(lines[1], "uid=5(games) gid=60(games) groups=60(games)");
    t.same(lines.slice(2, 19), [
      "n=16",
      '["a b+ext"@pipeex.test]',
      "[a b]",
      "[ext]",
      "[a b+ext]",
      "[pipeex.test]",
      "[pipeex.test]",
      "[sender@remote.example]",
      '["a b+ext"@pipeex.test]',
      "[127.0.0.1]",
      "[localhost]",
      "[client.posthaste.test]",
      "[ESMTP]",
      "[]",
      "[xx]",
      "[$]",
      "[aa bb]",
    ]);
    t.same(
      environment(lines),
      ["LANG", "MAIL_CONFIG", "PATH", "PWD", "TZ"].filter((name) => environment(lines).includes(name)),
    );
    t.ok(lines.includes("PATH=/usr/bin:/bin"));
    t.same(
      lines
        .slice(lines.indexOf("Return-Path: <sender@remote.example>"))
        .filter((line) => !/^(Received:|\t)/.test(line)),
      [
        "Return-Path: <sender@remote.example>",
        'X-Original-To: "A B+Ext"@PIPEEX.test',
        'Delivered-To: "A B+Ext"@PIPEEX.test',
        "From: a@b",
        "To: c@d",
        "Message-Id: <fixed@id>",
        "Date: now",
        "",
        ">From here",
        ".dot",
        "body",
        "",
        "",
      ],
    );
  });
  await t.test("several recipients, null sender", async (t) => {
    await send(["a@pipemulti.test", "b@pipemulti.test"], "");
    await status("a@pipemulti.test", "dsn=2.0.0, status=sent (delivered via pipemulti service)");
    await status("b@pipemulti.test", "dsn=2.0.0, status=sent (delivered via pipemulti service)");
    const lines = await told();
    t.equal(lines[0], instance.queue, "the queue directory");
    t.same(lines.slice(2, 9), [
      "n=6",
      "[-f]",
      "[MAILER-DAEMON]",
      "[--]",
      "[a@pipemulti.test]",
      "[b@pipemulti.test]",
      "[const]",
    ]);
    t.ok(lines.some((line) => /^From MAILER-DAEMON {2}\w/.test(line)));
    t.same(
      lines.slice(-5),
      ["From here", "..dot", "body", ""].length === 4 ? ["", "From here", "..dot", "body", ""] : [],
    );
    await send("a@pipenull.test", "");
    t.same((await told()).slice(2, 4), ["n=1", "[<>]"]);
    const [, ...rest] = (await told()).join("\n").split("\n\n");
    t.match(rest.join("\n\n"), /^From MAILER-DAEMON {2}[^\n]*\nReturn-Path: <>\n/);
  });
  await t.test("DLV-06 an argument that expands to nothing stays", async (t) => {
    await send("plain@pipeempty.test");
    t.same((await told()).slice(2, 10), [
      "n=7",
      "[-u]",
      "[plain]",
      "[-d]",
      "[pipeempty.test]",
      "[xy]",
      "[]",
      "[end]",
    ]);
    await send('"+ext"@pipeempty.test');
    t.same((await told()).slice(2, 4), ["n=7", "[-u]"]);
  });
  await t.test("DLV-07 hostile addresses reach the command as they are", async (t) => {
    await send('"$(id);`id`|x&\\\\ $user ${home} -- ../..%s"@pipeempty.test');
    t.equal((await told())[4], "[$(id);`id`|x&\\ $user ${home} -- ../..%s]");
  });
  await t.test("eol=", async (t) => {
    await send("a@pipecr.test");
    const lines = await told();
    t.ok(lines.includes("Return-Path: <sender@remote.example>\r"));
    t.ok(lines.includes(".dot\r"));
  });
  await t.test("DLV-18 refusals", async () => {
    await send("a@pipebad.test");
    await status("a@pipebad.test", "dsn=4.3.5, status=deferred (mail system configuration error)");
    await logged(instance, /warning: file \S+\/master\.cf: service pipebad: unknown macro name: "foo"/);
    await send("a@pipesize.test");
    await status("a@pipesize.test", "dsn=5.2.3, status=bounced (message too large)");
    await send(["a@pipeone.test", "b@pipeone.test"]);
    await status("a@pipeone.test", "dsn=4.3.5, status=deferred (mail system configuration error)");
    await logged(instance, /warning: pipe flag `D' requires pipeone_destination_recipient_limit = 1/);
    await send("a@pipeone.test");
    await status("a@pipeone.test", "dsn=2.0.0, status=sent (delivered via pipeone service)");
    await sendMail(
      instance.smtpPort,
      "s@remote.example",
      "loop@pipeone.test",
      `Delivered-To: LOOP@pipeone.test\r\n${MESSAGE}`,
    );
    await status(
      "loop@pipeone.test",
      "dsn=5.4.6, status=bounced (mail forwarding loop for loop@pipeone.test)",
    );
  });
  await t.test("directories, jails and programs", async (t) => {
    await send("a@pipejail.test");
    const lines = await told();
    t.same(lines.slice(0, 2), ["/usr", "uid=5(games) gid=60(games) groups=60(games)"]);
    await send("a@pipenone.test");
    await logged(
      instance,
      /pipe\[\d+\]: fatal: (?:pipe_command: )?execvp \/no\/such\/command: No such file or directory/,
    );
    await logged(
      instance,
      /to=<a@pipenone\.test>.*dsn=4\.3\.0, status=deferred \(temporary failure\. Command output: pipe: fatal: (?:pipe_command: )?execvp \/no\/such\/command: No such file or directory \)/,
    );
    await send("a@pipedir.test");
    await logged(
      instance,
      /pipe\[\d+\]: fatal: cannot change directory to "\/root" for uid=5 gid=60: Permission denied/,
    );
    await status("a@pipedir.test", "dsn=4.3.0, status=deferred (temporary failure)");
    await send("a@pipeplain.test");
    await status(
      "a@pipeplain.test",
      "dsn=2.0.0, status=sent (delivered via pipeplain service (no interpreter line))",
    );
  });
  for (const [user, command, outcome] of SHELL)
    await t.test(`sh -c '${command}'`, async () => {
      await send(`${user}@sh.test`);
      await status(`${user}@sh.test`, outcome);
    });
  await t.test("DLV-05 DLV-09 descriptors, groups and limits of the command", async (t) => {
    await send("fds@sh.test");
    // "total 0", 0, 1, 2 and ls's own
    const [, shown = ""] = await logged(
      instance,
      /to=<fds@sh\.test>.*status=sent \(delivered via pipefds service \((.*)\)\)/,
    );
    t.match(shown, /^5 60 0 Uid: 5 5 5 5$/);
  });
  await t.test(
    "DLV-08 a command that cannot be ended otherwise is killed with all that it started",
    async () => {
      await send("a@pipeslow.test");
      await status(
        "a@pipeslow.test",
        `dsn=5.3.0, status=bounced (Command time limit exceeded: "${instance.directory}/pipe/stubborn")`,
      );
      await logged(instance, /warning: pipe_command_read: read time limit exceeded/);
    },
  );
  for (const [service, problem] of [
    ["pipenouser", "missing user= command-line attribute"],
    ["pipenoargv", "missing argv= command-line attribute"],
    ["piperoot", "user= command-line attribute specifies root privileges"],
    ["pipeowner", "user= command-line attribute specifies mail system owner daemon"],
    ["piperootgroup", "user= command-line attribute specifies privileged group id 0"],
    ["pipeownergroup", "user= command-line attribute specifies mail system owner daemon group id 1"],
    ["pipemailgroup", "user= command-line attribute specifies mail system mail group id 8"],
    ["pipenobody", "get_service_attr: unknown username: no-such-user"],
    ["pipenogroup", "get_service_attr: unknown group: no-such-group"],
    ["pipeflag", "unknown flag: Z (ignored)"],
    ["pipeattr", "unknown attribute name: colour"],
    ["pipebadsize", "get_service_attr: bad size= value: big"],
  ] as const)
    await t.test(`fatal: ${problem}`, async () => {
      await send(`a@${service}.test`);
      await logged(instance, new RegExp(`pipe\\[\\d+\\]: fatal: ${escaped(problem)}`));
    });
}
