/** Errors in main.cf and master.cf: Postfix's words, as a real Postfix said them to the same files. */

import { spawnSync } from "node:child_process";
import { appendFileSync, mkdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { NEEDS_ROOT, runningInstance } from "./support/harness.ts";
import { stillWorks } from "./support/hostile.ts";

/** What is added to main.cf, the program, its last line of output without the file's name. */
const MAIN_CF: ReadonlyArray<readonly [string, ReadonlyArray<string>, string]> = [
  [
    "garbage line",
    ["postqueue", "-p"],
    `postqueue: fatal: FILE, line N: missing '=' after attribute name: "garbage line"`,
  ],
  ["= x", ["postqueue", "-p"], 'postqueue: fatal: FILE, line N: missing attribute name: "= x"'],
  [
    "smtputf8_enable = maybe",
    ["postqueue", "-p"],
    "postqueue: fatal: bad boolean configuration: smtputf8_enable = maybe",
  ],
  [
    "message_size_limit = 10x",
    ["postdrop"],
    "postdrop: fatal: bad numerical configuration: message_size_limit = 10x",
  ],
  [
    "message_size_limit = 99999999999999999999",
    ["postdrop"],
    "postdrop: fatal: bad numerical configuration: message_size_limit = 99999999999999999999",
  ],
  [
    "ipc_timeout = 5q",
    ["postqueue", "-p"],
    "postqueue: fatal: parameter ipc_timeout: bad time value or unit: 5q",
  ],
  [
    "a = $b\nb = $a\nmail_name = $a",
    ["postqueue", "-p"],
    "postqueue: fatal: dictionary mail_dict: macro processing error",
  ],
  ["mail_name = ${x", ["postqueue", "-p"], "postqueue: fatal: dictionary mail_dict: macro processing error"],
  [
    "mail_owner = nosuchuser",
    ["postqueue", "-p"],
    "postqueue: fatal: file FILE: parameter mail_owner: unknown user name value: nosuchuser",
  ],
  [
    "mail_owner = root",
    ["postqueue", "-p"],
    "postqueue: fatal: file FILE: parameter mail_owner: user root has privileged user ID",
  ],
  [
    "setgid_group = nosuchgroup",
    ["postqueue", "-p"],
    "postqueue: fatal: file FILE: parameter setgid_group: unknown group name: nosuchgroup",
  ],
  [
    "setgid_group = root",
    ["postqueue", "-p"],
    "postqueue: fatal: file FILE: parameter setgid_group: group root has privileged group ID",
  ],
  [
    "inet_interfaces = 1.2.3",
    ["postqueue", "-p"],
    "postqueue: fatal: parameter inet_interfaces: no local interface found for 1.2.0.3",
  ],
  [
    "inet_protocols = ipv5",
    ["postqueue", "-p"],
    'postqueue: fatal: unknown inet_protocols value "ipv5" in "ipv5"',
  ],
  [
    "compatibility_level = banana",
    ["postqueue", "-p"],
    'postqueue: fatal: malformed compatibility level syntax: "banana"',
  ],
  [
    "myhostname = -bad-",
    ["postqueue", "-p"],
    "postqueue: fatal: file FILE: parameter myhostname: bad parameter value: -bad-",
  ],
  [
    "queue_directory = /nonexistent/q",
    ["postdrop"],
    "postdrop: fatal: chdir /nonexistent/q: No such file or directory",
  ],
  ["", ["postmap", "-q", "x", "nosuch:/x"], "postmap: fatal: unsupported dictionary type: nosuch"],
  [
    "",
    ["postmap", "-q", "x", "texthash:/nonexistent/x"],
    "postmap: fatal: open database /nonexistent/x: No such file or directory",
  ],
];

const MASTER_CF: ReadonlyArray<readonly [string, string]> = [
  ["foo unix - - n", "fatal: file MASTER: line N: bad field count"],
  ["foo bar - - n - - smtp", 'fatal: invalid type field "bar" in "foo bar - - n - - smtp"'],
  ["foo unix x - n - - smtp", 'fatal: invalid private field "x" in "foo unix x - n - - smtp"'],
  ["foo unix - x n - - smtp", 'fatal: invalid unprivileged field "x" in "foo unix - x n - - smtp"'],
  ["foo unix - - x - - smtp", 'fatal: invalid chroot field "x" in "foo unix - - x - - smtp"'],
  ["foo unix - - n x - smtp", 'fatal: invalid wakeup field "x" in "foo unix - - n x - smtp"'],
  ["foo unix - - n - x smtp", 'fatal: invalid process_limit field "x" in "foo unix - - n - x smtp"'],
];

t.test("each error is reported in Postfix's words, and the running system goes on", NEEDS_ROOT, async (t) => {
  const instance = await runningInstance(t);
  const past = new Date(Date.now() - 10_000);
  const config = join(instance.directory, "broken");
  mkdirSync(config);
  const write = (name: string, text: string): void => {
    writeFileSync(join(config, name), text);
    utimesSync(join(config, name), past, past);
  };
  const good = {
    main: readFileSync(join(instance.config, "main.cf"), "latin1"),
    master: readFileSync(join(instance.config, "master.cf"), "latin1"),
  };
  const run = (program: string, args: ReadonlyArray<string>): string => {
    const { stdout, stderr } = spawnSync(instance.program(program), args, {
      env: { ...instance.environment, MAIL_CONFIG: config },
      input: "",
      encoding: "latin1",
      timeout: 10_000,
    });
    const line = `${stdout}${stderr}`.trimEnd().split("\n").at(-1) ?? "";
    return line
      .replaceAll(join(config, "main.cf"), "FILE")
      .replaceAll(join(config, "master.cf"), "MASTER")
      .replace(/\bline \d+/, "line N")
      .replace(/^.*\/postconf: /, "");
  };
  write("master.cf", good.master);
  for (const [text, [program = "", ...args], expected] of MAIN_CF) {
    write("main.cf", `${good.main}${text}\n`);
    t.equal(run(program, args), expected, text);
  }
  write("main.cf", good.main);
  for (const [text, expected] of MASTER_CF) {
    write("master.cf", `${good.master}${text}\n`);
    t.equal(run("postconf", ["-M"]), expected, text);
  }

  appendFileSync(join(instance.config, "main.cf"), "garbage line\n");
  utimesSync(join(instance.config, "main.cf"), past, past);
  const reload = instance.run("postfix", ["reload"]);
  t.equal(reload.status, 1);
  t.match(reload.stderr.toString("latin1"), `missing '=' after attribute name: "garbage line"`);
  writeFileSync(join(instance.config, "main.cf"), good.main);
  utimesSync(join(instance.config, "main.cf"), past, past);
  instance.must("postfix", ["reload"]);
  await stillWorks(t, instance);
});
