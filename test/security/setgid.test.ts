/** The set-gid programs in the hands of an ordinary user: what they are for works, and nothing that the user controls has another effect. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import type { Instance } from "../../packaging/instance.ts";
import {
  logged,
  NEEDS_ROOT,
  PROGRAMS,
  queueFiles,
  runningInstance,
  until,
} from "../system/support/harness.ts";
import { OrdinaryUser, setgidPrograms, USER } from "./support/ordinary_user.ts";

interface Stage {
  readonly instance: Instance;
  readonly user: OrdinaryUser;
  readonly sbin: string;
}

async function stage(t: Parameters<typeof runningInstance>[0]): Promise<Stage> {
  let programs = "";
  const instance = await runningInstance(t, {
    stopped: true,
    mainCf: (directory) => {
      programs = setgidPrograms(directory, PROGRAMS.multicall, "mail");
      return `maildrop_world_writable = no
command_directory = ${programs}/sbin
daemon_directory = ${programs}/libexec
sendmail_path = ${programs}/sbin/sendmail
`;
    },
  });
  instance.start();
  return {
    instance,
    user: new OrdinaryUser(instance.directory, instance.config),
    sbin: join(programs, "sbin"),
  };
}

/** Delivered when the mail queue is empty and the mailbox has the mark. */
const arrival = (instance: Instance, mark: string): Promise<boolean> =>
  until(`delivery of ${mark}`, () => {
    const mailbox = join(instance.mail, instance.who.recipient);
    return existsSync(mailbox) && readFileSync(mailbox, "latin1").includes(mark);
  });

t.test("what an ordinary user may do and may not do", NEEDS_ROOT, async (t) => {
  const { instance, user, sbin } = await stage(t);
  const to = `${instance.who.recipient}@localhost`;
  t.equal(statSync(join(sbin, "postdrop")).mode & 0o7777, 0o2755);
  const submitted = user.run({ script: `${sbin}/sendmail ${to}`, input: "Subject: from a user\n\nbody\n" });
  t.equal(submitted.status, 0, submitted.stderr);
  await arrival(instance, "Subject: from a user");
  await logged(
    instance,
    new RegExp(
      `pickup\\[\\d+\\]: [0-9A-F]+: uid=${execFileSync("id", ["-u", USER]).toString().trim()} from=<${USER}>`,
    ),
  );
  t.equal(user.run(`${sbin}/mailq`).stdout, "Mail queue is empty\n");
  t.equal(user.run(`${sbin}/postqueue -p`).stdout, "Mail queue is empty\n");
  t.equal(user.run(`${sbin}/postqueue -j`).status, 0);
  t.equal(user.run(`${sbin}/postqueue -f`).status, 0);
  t.equal(user.run(`${sbin}/postlog -t mine words of a user`).status, 0);
  await logged(instance, /mine\[\d+\]: words of a user/);
  const dialogue = user.run({
    script: `${sbin}/sendmail -bs`,
    input: `EHLO x\r\nMAIL FROM:<${USER}>\r\nRCPT TO:<${to}>\r\nDATA\r\nSubject: by -bs\r\n\r\n.\r\nQUIT\r\n`,
  });
  t.match(dialogue.stdout, /250 2\.0\.0 Ok: queued as [0-9A-F]+\r\n221 2\.0\.0 Bye\r\n$/);
  await arrival(instance, "Subject: by -bs");

  const { queue } = instance;
  t.equal(statSync(join(queue, "maildrop")).mode & 0o7777, 0o730);
  for (const forbidden of [
    `touch ${queue}/maildrop/x`,
    `ls ${queue}/maildrop`,
    `ls ${queue}/public`,
    `cat ${queue}/pid/master.pid > ${queue}/maildrop/1`,
  ])
    t.not(user.run(forbidden).status, 0, forbidden);
  const connecting = `const s = require("net").connect(process.argv[1]); s.on("error", (e) => { console.log(e.code); }); s.on("connect", () => { console.log("connected"); s.destroy(); })`;
  for (const service of ["public/cleanup", "public/showq", "public/qmgr", "private/rewrite"])
    t.equal(
      user.run(`${process.execPath} -e '${connecting}' ${queue}/${service}`).stdout,
      "EACCES\n",
      service,
    );
});

t.test("QUE-09 what else a user controls has no effect", NEEDS_ROOT, async (t) => {
  const { instance, user, sbin } = await stage(t);
  const to = `${instance.who.recipient}@localhost`;
  const evil = join(user.home, "evil");
  const marker = join(user.home, "marker");
  const plant = `require("node:fs").writeFileSync("${marker}", String(process.getegid()));`;
  mkdirSync(evil);
  writeFileSync(join(evil, "x.ts"), plant);
  writeFileSync(join(evil, "bunfig.toml"), 'preload = ["./x.ts"]\n');
  writeFileSync(join(evil, ".env"), `MAIL_CONFIG=${evil}\nBUN_OPTIONS=--preload=${evil}/x.ts\n`);
  writeFileSync(join(evil, "package.json"), '{"type":"module","main":"x.ts"}');
  writeFileSync(join(evil, "tsconfig.json"), '{"compilerOptions":{"paths":{"*":["./x.ts"]}}}');
  writeFileSync(
    join(evil, "main.cf"),
    `queue_directory = ${evil}\nimport_environment = BUN_BE_BUN BUN_OPTIONS\n`,
  );
  writeFileSync(
    join(evil, "preload.c"),
    `#include <stdio.h>\n__attribute__((constructor)) static void run(void) { FILE *f = fopen("${marker}", "w"); if (f) fclose(f); }\n`,
  );
  execFileSync("cc", ["-shared", "-fPIC", "-o", join(evil, "preload.so"), join(evil, "preload.c")]);
  execFileSync("chown", ["-R", USER, user.home]);
  const clean = (): boolean =>
    !existsSync(marker) && !readdirSync(user.home).some((name) => !["evil"].includes(name));
  const sweep = (): void => {
    execFileSync("find", [
      user.home,
      "-mindepth",
      "1",
      "-maxdepth",
      "1",
      "!",
      "-name",
      "evil",
      "-exec",
      "rm",
      "-rf",
      "{}",
      "+",
    ]);
  };

  // the attacks are real ones: a runtime that is started directly falls for them
  user.run({ script: `${sbin}/../libexec/postqueue -e '${plant}'`, environment: { BUN_BE_BUN: "1" } });
  t.ok(existsSync(marker), "the control attack works");
  sweep();

  const list = `${sbin}/postqueue -p`;
  const attacks: ReadonlyArray<readonly [string, string, Readonly<Record<string, string>>?]> = [
    ["BUN_BE_BUN", "COMMAND", { BUN_BE_BUN: "1" }],
    ["BUN_OPTIONS preload", "COMMAND", { BUN_OPTIONS: `--preload=${evil}/x.ts` }],
    ["BUN_OPTIONS profile", "COMMAND", { BUN_OPTIONS: `--cpu-prof --cpu-prof-dir=${user.home}/prof` }],
    ["bunfig.toml, .env and their like in the directory", `cd ${evil} && COMMAND`],
    [
      "BUN_INSPECT",
      "COMMAND",
      {
        BUN_INSPECT: "ws://127.0.0.1:9999/x",
        BUN_INSPECT_NOTIFY: `unix://${user.home}/notify`,
        BUN_INSPECT_PRELOAD: `${evil}/x.ts`,
      },
    ],
    [
      "engine options",
      "COMMAND",
      {
        BUN_JSC_nosuchoption: "1",
        BUN_JSC_dumpOptions: "3",
        JSC_dumpOptions: "3",
        BUN_JSC_useSamplingProfiler: "1",
      },
    ],
    [
      "allocator options",
      "COMMAND",
      {
        MIMALLOC_VERBOSE: "3",
        MIMALLOC_SHOW_STATS: "1",
        MIMALLOC_RESERVE_HUGE_OS_PAGES: "99",
        BUN_RUNTIME_TRANSPILER_CACHE_PATH: `${user.home}/cache`,
      },
    ],
    [
      "NODE_CHANNEL_FD",
      "exec 3<>/dev/zero; COMMAND",
      {
        NODE_CHANNEL_FD: "3",
        NODE_CHANNEL_SERIALIZATION_MODE: "json",
        NODE_OPTIONS: `--require ${evil}/x.ts`,
      },
    ],
    [
      "the dynamic linker",
      "COMMAND",
      {
        LD_PRELOAD: `${evil}/preload.so`,
        LD_LIBRARY_PATH: evil,
        LD_AUDIT: `${evil}/preload.so`,
        LD_DEBUG: "all",
        LD_DEBUG_OUTPUT: `${user.home}/ld`,
        GCONV_PATH: evil,
        MALLOC_TRACE: `${user.home}/mtrace`,
      },
    ],
    [
      "temporary folders, languages and zones",
      "COMMAND",
      {
        TMPDIR: evil,
        BUN_TMPDIR: evil,
        HOME: evil,
        XDG_CONFIG_HOME: evil,
        TZ: `:${evil}/x.ts`,
        LANG: "xx",
        LC_ALL: "../../x",
        PATH: evil,
      },
    ],
    [
      "what set-gid programs do not heed",
      "COMMAND",
      { MAIL_LOGTAG: "root", MAIL_VERBOSE: "1", MAIL_DEBUG: "1", NAME: "x" },
    ],
    ["stray descriptors", `for n in $(seq 3 200); do eval "exec $n<>/dev/null"; done; COMMAND`],
    ["an odd umask", "umask 777; COMMAND"],
    ["signals ignored", "trap '' INT QUIT TERM HUP ALRM CHLD PIPE USR1 USR2 XFSZ VTALRM PROF IO; COMMAND"],
    ["signals blocked", "exec env --block-signal COMMAND"],
    ["argv[0] of another program", "exec -a master COMMAND"],
    ["argv[0] of a path", `exec -a ${evil}/posthaste COMMAND`],
    ["an empty argv[0]", "exec -a '' COMMAND"],
    ["soft limits", "ulimit -S -f 0 -n 5 -c unlimited -s 256; COMMAND"],
    ["a directory that is gone", "mkdir gone && cd gone && rmdir ../gone && COMMAND"],
  ];
  // the variables are for the program under attack, not for the shell that leads to it
  const under = (script: string, command: string, environment?: Readonly<Record<string, string>>): string => {
    const settings = Object.entries(environment ?? {}).map(([name, value]) => `'${name}=${value}'`);
    return script.replace(
      "COMMAND",
      environment === undefined ? command : `env ${settings.join(" ")} ${command}`,
    );
  };
  for (const [name, script, environment] of attacks) {
    const result = user.run(under(script, list, environment));
    t.equal(result.stdout, "Mail queue is empty\n", `${name}: ${result.stderr}`);
    t.equal(result.status, 0, name);
    t.ok(clean(), `${name}: nothing was written`);
    sweep();
  }

  let count = 0;
  for (const [name, script] of [
    ["an odd umask", "umask 777; COMMAND"],
    ["signals", "trap '' INT QUIT TERM HUP XFSZ PIPE; COMMAND"],
    ["no standard output", "COMMAND >&-"],
    ["no standard error", "COMMAND 2>&-"],
    ["stray descriptors", "exec 3<>/dev/null 4<>/dev/null 5<>/dev/null 6<>/dev/null; COMMAND"],
  ] as const) {
    const subject = `Subject: submission ${++count}`;
    const result = user.run({
      script: under(script, `${sbin}/sendmail ${to}`),
      input: `${subject}\n\nbody\n`,
    });
    t.equal(result.status, 0, `${name}: ${result.stderr}`);
    await arrival(instance, subject);
    t.ok(clean(), `${name}: nothing was written`);
  }

  // Anything may come of these, but no harm.
  const harmless: ReadonlyArray<string> = [
    "exec 0<&- 1>&- 2>&-; POSTDROP",
    "POSTDROP <&-",
    "POSTDROP >&-",
    "POSTDROP 0</ 1<>/dev/full",
    "head -c 200000 /dev/urandom | POSTDROP",
    "ulimit -f 0; POSTDROP -r < /dev/zero",
    "ulimit -n 3; POSTDROP",
    "ulimit -v 50000; POSTDROP",
    "ulimit -s 64; POSTDROP",
    "ulimit -t 0; POSTDROP",
    "POSTDROP --preload=x.ts --inspect -e 1 -- run x.ts",
    "POSTDROP $(seq 1 20000)",
    "POSTDROP $(printf %0130000d 1)",
    "POSTDROP & sleep 0.1; kill -STOP $!; kill -KILL $!",
    "timeout -s INT 0.2 POSTDROP < <(sleep 1)",
  ];
  for (const script of harmless) {
    const { error } = user.run(script.replace("POSTDROP", `${sbin}/postdrop`));
    t.equal(error, undefined, `${script}: ended`);
    t.ok(clean(), `${script}: nothing was written`);
    sweep();
  }
  const complete = readdirSync(join(instance.queue, "maildrop")).filter(
    (name) => (statSync(join(instance.queue, "maildrop", name)).mode & 0o100) !== 0,
  );
  t.same(complete, [], "no message of theirs");

  for (const [directory, told] of [
    [evil, evil],
    [`${instance.config}/../config`, `${instance.config}/../config`],
  ] as const) {
    const result = user.run({ script: list, environment: { MAIL_CONFIG: directory } });
    t.equal(result.status, 69);
    t.match(result.stderr, `postqueue: error: unauthorized configuration directory name: ${told}\n`);
    t.match(
      result.stderr,
      `postqueue: fatal: specify "alternate_config_directories = ${told}" or "multi_instance_directories = ${told}" in /etc/postfix/main.cf\n`,
    );
    t.not(user.run(`${list.replace("-p", `-c ${directory} -p`)}`).status, 0, "nor by option");
  }
  for (const directory of ["evil", "x".repeat(5000), "."]) {
    const result = user.run({ script: list, environment: { MAIL_CONFIG: directory }, cwd: evil });
    t.notMatch(result.stdout, /queue is empty/, "a relative or endless name is none");
  }

  // nobody looks into, or leads, a process with borrowed rights
  const peek = user.run(
    `${sbin}/postdrop < <(sleep 5) > /dev/null & sleep 0.7; cat /proc/$!/maps; cat /proc/$!/environ; kill -KILL $!`,
  );
  t.equal(peek.stdout, "", "its memory is not to be read");
  t.match(peek.stderr, /maps: Permission denied/);

  const last = user.run({ script: `${sbin}/sendmail ${to}`, input: "Subject: at the end\n\n" });
  t.equal(last.status, 0);
  await arrival(instance, "Subject: at the end");
  t.notMatch(instance.maillog(), /killed by signal|internal error|panic:/);
  t.same(queueFiles(instance, "corrupt"), []);
});
