/** postmulti(1) on a machine of its own, against what a real one did, and where it goes further. */
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { NEEDS_ROOT, ROOT } from "./support/harness.ts";
import { Machine, POSTDROP_GID, POSTFIX } from "./support/machine.ts";

t.setTimeout(240_000);
// most of the time passes in waiting
// each test needs options of its own: tap keeps its state of a test in them
t.jobs = 5;

interface Case {
  readonly name: string;
  readonly argv: ReadonlyArray<string>;
  readonly rc: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly env?: Readonly<Record<string, string>>;
}
const cases: ReadonlyArray<Case> = JSON.parse(
  readFileSync(join(ROOT, "test/vectors/tools/postmulti.json"), "utf8"),
);

/** Where we do better: all of the group's name, and nothing left of a queue that nobody used. */
const BETTER: Readonly<Record<string, Partial<Case>>> = {
  lj: {
    stdout:
      '{"name": "-","group": "-","enabled": "y","config_directory": "/etc/postfix"}\n{"name": "postfix-a","group": "grpname","enabled": "n","config_directory": "$base/ia"}\n',
  },
  destroy: { stderr: "" },
};

t.test("the whole life of an instance, as recorded", { ...NEEDS_ROOT }, async (t) => {
  const machine = new Machine(t, { mainCf: "maildrop_world_writable = yes\n" });
  const names: ReadonlyArray<readonly [string, string]> = [
    ["$command_directory", `${machine.programs}/sbin`],
    ["$daemon_directory", `${machine.programs}/libexec`],
    ["$queue_directory", `${machine.directory}/spool`],
    ["$data_directory", `${machine.directory}/data`],
    ["$meta_directory", "/etc/postfix"],
    ["$base", machine.directory],
  ];
  const real = (text: string): string =>
    names.reduce(
      // debugger_command has one of the names in it as it stands
      (result, [name, value]) => result.replaceAll(new RegExp(`\\${name}(?!/\\$process)`, "g"), value),
      text,
    );
  const replay = async (recorded: Case): Promise<void> => {
    const expected = { ...recorded, ...BETTER[recorded.name] };
    // what the shell of -x expands is no name of ours
    const argv = recorded.argv.map((word) => (recorded.argv.includes("sh") ? word : real(word)));
    const environment = Object.fromEntries(
      Object.entries(recorded.env ?? {}).map(([name, value]) => [name, real(value)]),
    );
    const { status, stdout, stderr } = await machine.run(argv, { environment });
    machine.age(`${machine.directory}/ia`);
    t.same(
      { rc: status, stdout, stderr },
      { rc: expected.rc, stdout: real(expected.stdout), stderr: real(expected.stderr) },
      recorded.name,
    );
  };
  // what is refused takes a second and changes nothing
  let refusals: Promise<void>[] = [];
  for (const recorded of cases) {
    if (recorded.stderr.includes("fatal:")) {
      refusals.push(replay(recorded));
      continue;
    }
    await Promise.all(refusals);
    refusals = [];
    await replay(recorded);
  }
  await Promise.all(refusals);
  for (const name of ["ia", "sa", "da"]) t.notOk(existsSync(join(machine.directory, name)), name);
});

/** A machine after `postmulti -e init`, and its postmulti. */
async function prepared(t: Test) {
  const machine = new Machine(t, { mainCf: "maildrop_world_writable = yes\n" });
  const multi = (...args: string[]) => machine.run(["postmulti", ...args]);
  const must = async (...args: string[]): Promise<string> => {
    const result = await multi(...args);
    t.same({ status: result.status, stderr: result.stderr }, { status: 0, stderr: "" }, args.join(" "));
    return result.stdout;
  };
  const refused = async (text: string, ...args: string[]): Promise<void> =>
    void t.same(
      await multi(...args),
      { status: 1, stdout: "", stderr: `postmulti: fatal: ${text}\n` },
      args.join(" "),
    );
  await must("-e", "init");
  return { machine, multi, must, refused };
}

t.test("create: places, names and owners", { ...NEEDS_ROOT }, async (t) => {
  const { machine, must, refused } = await prepared(t);
  const place = (name: string): string[] =>
    ["config", "queue", "data"].map((kind) => `${kind}_directory=${machine.directory}/${name}/${kind}`);
  await must("-e", "create", "-I", "postfix-a", "-G", "first", ...place("a"));
  await must("-I", "postfix-b", "-G", "second", "-e", "create", ...place("b"));
  await must("-a", "-I", "postfix-c", "-e", "create", ...place("c"));
  await must("-g", "second", "-I", "postfix-d", "-e", "create", ...place("d"));
  await must("-i", "a", "-I", "postfix-e", "-e", "create", ...place("e"));
  t.same(
    (await must("-l")).split("\n").map((line) => line.split(/ +/)[0]),
    ["-", "postfix-c", "postfix-e", "postfix-a", "postfix-d", "postfix-b", ""],
    "-a, -g and -i say where",
  );
  const stat = (path: string): string => {
    const { uid, gid, mode } = statSync(join(machine.directory, "a", path));
    return `${uid} ${gid} ${(mode & 0o7777).toString(8)}`;
  };
  t.equal(stat("config"), "0 0 755");
  t.equal(stat("queue"), "0 0 755");
  t.equal(stat("data"), `${POSTFIX.uid} 0 700`);
  t.equal(stat("queue/active"), `${POSTFIX.uid} 0 700`);
  t.equal(stat("queue/maildrop"), `${POSTFIX.uid} ${POSTDROP_GID} 730`);
  t.equal(stat("queue/public"), `${POSTFIX.uid} ${POSTDROP_GID} 710`);
  t.equal(stat("config/main.cf"), "0 0 644");

  await refused(
    "Parameter setting 'config_directory' is not an absolute path",
    "-e",
    "create",
    "-I",
    "postfix-z",
    "config_directory=x",
  );
  await refused(
    "Parameter 'relayhost' not valid with action create",
    "-e",
    "create",
    "-I",
    "postfix-z",
    "relayhost=x",
  );
  await refused("Malformed parameter setting 'x'", "-e", "create", "-I", "postfix-z", "x");
  await refused("Unsafe characters in '-G a b'", "-e", "create", "-I", "postfix-z", "-G", "a b");
  await refused(
    "No matching secondary instances",
    "-i",
    "-",
    "-e",
    "create",
    "-I",
    "postfix-z",
    ...place("z"),
  );
  const config = `${machine.directory}/a/config`;
  await refused(
    `new config_directory=${config} is already in use by instance ${config}, config_directory=${config}`,
    "-e",
    "create",
    "-I",
    "postfix-z",
    `config_directory=${config}`,
  );
  await refused(
    `instance /etc/postfix-z, queue_directory=${machine.directory}/a/queue conflicts with instance ${config}, queue_directory=${machine.directory}/a/queue`,
    "-e",
    "create",
    "-I",
    "postfix-z",
    `queue_directory=${machine.directory}/a/queue`,
  );
  await refused(
    `instance ${config}, multi_instance_name=postfix-b conflicts with instance ${machine.directory}/b/config, multi_instance_name=postfix-b`,
    "-i",
    "a",
    "-e",
    "assign",
    "-I",
    "postfix-b",
  );
  t.notOk(existsSync(machine.path("/etc/postfix-z")), "what is refused leaves nothing");

  // a configuration that is there is taken as it is
  await must("-i", "a", "-e", "deport");
  const before = readFileSync(join(config, "main.cf"), "utf8");
  await must("-e", "create", `config_directory=${config}/`);
  t.equal(readFileSync(join(config, "main.cf"), "utf8"), before);
  t.match(await must("-l", "-i", config), /^postfix-a +first +n /);
});

t.test("-p: who is started, stopped and told", { ...NEEDS_ROOT }, async (t) => {
  const { machine, multi, must, refused } = await prepared(t);
  const calls = join(machine.directory, "calls");
  // a stand-in for postfix(1) that says for whom it was called
  const commands = join(machine.directory, "commands");
  mkdirSync(commands);
  for (const name of readdirSync(join(machine.programs, "sbin")))
    if (name !== "postfix") symlinkSync(join(machine.programs, "sbin", name), join(commands, name));
  for (const name of ["a", "b"])
    await must(
      "-e",
      "create",
      "-I",
      `postfix-${name}`,
      ...["config", "queue", "data"].map((kind) => `${kind}_directory=${machine.directory}/${name}/${kind}`),
    );
  await must("-i", "b", "-e", "enable");
  writeFileSync(
    join(commands, "postfix"),
    `#!/bin/sh\necho "$(basename $(dirname $MAIL_CONFIG)) $*" >> ${calls}\ntest "$2" != reload\n`,
  );
  chmodSync(join(commands, "postfix"), 0o755);
  machine.write(
    "main.cf",
    machine.read("main.cf").replace(/^command_directory = .*$/m, `command_directory = ${commands}`),
  );
  const told = async (...args: string[]): Promise<string[]> => {
    writeFileSync(calls, "");
    await multi(...args);
    return readFileSync(calls, "utf8").trimEnd().split("\n");
  };
  t.same(await told("-p", "start"), ["etc -- start", "a -- check", "b -- start"], "a is not enabled");
  for (const command of ["stop", "abort", "drain", "quick-stop"])
    t.same(await told("-p", command), [`b -- ${command}`, `etc -- ${command}`], "the other way round");
  for (const command of ["reload", "flush"])
    t.same(await told("-p", command), [`etc -- ${command}`, `b -- ${command}`]);
  t.same(await told("-p", "status", "x"), ["etc -- status x", "a -- status x", "b -- status x"]);
  t.same(await told("-i", "a", "-p", "status"), ["a -- status"]);
  t.equal((await multi("-p", "reload")).status, 1, "one failure is enough");
  await refused("No matching instances", "-i", "a", "-p", "stop");
  t.same(await multi("-i", "b", "-x", "nosuchcommand"), {
    status: 1,
    stdout: "",
    stderr: "postmulti: fatal: execvp nosuchcommand: No such file or directory\n",
  });
  t.equal(await must("-R", "-x", "sh", "-c", "basename $(dirname $config_directory)"), "b\na\netc\n");
});

t.test("CFG-05 destroy follows no link, and lists may have empty places", { ...NEEDS_ROOT }, async (t) => {
  const { machine, multi, must } = await prepared(t);
  const base = machine.directory;
  for (const name of ["a", "b"])
    await must(
      "-e",
      "create",
      "-I",
      `postfix-${name}`,
      ...["config", "queue", "data"].map((kind) => `${kind}_directory=${base}/${name}/${kind}`),
    );
  machine.write(
    "main.cf",
    machine
      .read("main.cf")
      .replace(
        /^multi_instance_directories.*/m,
        `multi_instance_directories = ${base}/a/config,,${base}/b/config,`,
      ),
  );
  t.equal((await must("-l")).split("\n").length, 4);

  const outside = join(base, "outside");
  mkdirSync(join(outside, "empty"), { recursive: true });
  writeFileSync(join(outside, "master.lock"), "");
  const queue = join(base, "a/queue");
  // the mail owner puts links where the queue is
  for (const name of ["hold", "saved"]) {
    await machine.run(["rmdir", join(queue, name)]);
    symlinkSync(outside, join(queue, name));
  }
  symlinkSync(join(outside, "empty"), join(queue, "deferred/0"));
  await machine.run(["rmdir", join(base, "a/data")]);
  symlinkSync(outside, join(base, "a/data"));
  mkdirSync(join(queue, "active/A/B"), { recursive: true });
  for (const name of ["active/A", "active/A/B"]) chownSync(join(queue, name), POSTFIX.uid, POSTFIX.gid);
  writeFileSync(join(queue, "incoming/message"), "");
  const { status, stderr } = await multi("-i", "a", "-e", "destroy");
  t.equal(status, 0);
  const warnings = ["deferred", "hold", "incoming", "saved"].map((name) => `${queue}/${name}`);
  t.same(
    stderr.trimEnd().split("\n"),
    [...warnings, `${base}/a/data`, queue].map(
      (path) => `postlog: warning: ${path}: please verify contents and remove by hand`,
    ),
  );
  t.same(readdirSync(outside).sort(), ["empty", "master.lock"]);
  t.same(readdirSync(queue).sort(), ["deferred", "hold", "incoming", "saved"]);
  t.notOk(existsSync(join(base, "a/config")));
  t.match(await must("-l"), /^-.*\npostfix-b .*\n$/);
});

t.test("CFG-08 -lj is JSON whatever the names hold", { ...NEEDS_ROOT }, async (t) => {
  const { machine, must } = await prepared(t);
  await must(
    "-e",
    "create",
    "-I",
    "postfix-a",
    ...["config", "queue", "data"].map((kind) => `${kind}_directory=${machine.directory}/a/${kind}`),
  );
  const file = join(machine.directory, "a/config/main.cf");
  writeFileSync(file, Buffer.from('multi_instance_group = q"\\\x01\xff\xc3\xa9\n', "latin1"), { flag: "a" });
  const lines = (await must("-lj")).trimEnd().split("\n");
  t.same(JSON.parse(Buffer.from(lines[1] ?? "", "latin1").toString("utf8")), {
    name: "postfix-a",
    group: 'q"\\\x01?é',
    enabled: "n",
    config_directory: `${machine.directory}/a/config`,
  });
});
