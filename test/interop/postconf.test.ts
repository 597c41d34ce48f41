/** postconf(1) beside a real one: the same files and arguments give the same output, warnings, status and files. */
import { execFile } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { PARAMETERS } from "../../lib/config/parameters.ts";
import { REFERENCE } from "../../packaging/debian_packages.ts";
import { PROGRAMS } from "../system/support/harness.ts";
import { reference } from "./support/reference.ts";

t.setTimeout(120_000);
const real = reference();
const skip = "missing" in real ? real.missing : false;
const scratch = mkdtempSync(join(tmpdir(), "posthaste-postconf-"));
t.teardown(() => rmSync(scratch, { recursive: true, force: true }));

interface Case {
  readonly main?: string | Buffer;
  readonly master?: string;
  readonly args: ReadonlyArray<string>;
}
interface Outcome {
  readonly rc: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly main: string;
  readonly master: string;
  readonly mode: number;
  readonly files: ReadonlyArray<string>;
}

let count = 0;
async function run(program: string, { main = "", master = "", args }: Case): Promise<Outcome> {
  const directory = join(scratch, String(count++));
  mkdirSync(directory);
  for (const [name, text] of [
    ["main.cf", main],
    ["master.cf", master],
  ] as const) {
    writeFileSync(join(directory, name), text, { mode: 0o640 });
    utimesSync(join(directory, name), 1_700_000_000, 1_700_000_000);
  }
  const outcome = await new Promise<Pick<Outcome, "rc" | "stdout" | "stderr">>((resolve) => {
    execFile(
      program,
      ["-c", directory, ...args],
      {
        encoding: "latin1",
        maxBuffer: 1 << 26,
        env: { PATH: "/usr/bin:/bin", LANG: "C" },
        argv0: "postconf",
      } as object,
      (error, stdout, stderr) =>
        resolve({
          rc: typeof error?.code === "number" ? error.code : error === null ? 0 : -1,
          stdout: String(stdout),
          // its own name is how it was called
          stderr: String(stderr).replaceAll(directory, "DIRECTORY").replaceAll(program, "postconf"),
        }),
    );
  });
  return {
    ...outcome,
    stdout: outcome.stdout.replaceAll(directory, "DIRECTORY"),
    main: readFileSync(join(directory, "main.cf"), "latin1"),
    master: readFileSync(join(directory, "master.cf"), "latin1"),
    mode: statSync(join(directory, "main.cf")).mode & 0o777,
    files: readdirSync(directory).sort(),
  };
}

/** Runs each case with both programs. */
async function same(t: Test, cases: ReadonlyArray<Case>): Promise<void> {
  if ("missing" in real) return;
  const queue = [...cases];
  const worker = async (): Promise<void> => {
    for (let entry = queue.shift(); entry !== undefined; entry = queue.shift()) {
      const [theirs, ours] = await Promise.all([
        run(join(real.sbin, "postconf"), entry),
        run(join(PROGRAMS.multicall, "sbin/postconf"), entry),
      ]);
      t.same(ours, theirs, `${entry.args.join(" ")} with ${JSON.stringify(String(entry.main).slice(0, 60))}`);
    }
  };
  await Promise.all(Array.from({ length: 14 }, worker));
}

const ENDS = [
  "a = b",
  "a = b\n# comment",
  "a = b\n more",
  "a = b\r\nx = y\r\n",
  "",
  "\n",
  "#",
  "a = b\n\n",
  "  a = b\nc = d\n",
  "a = b\n# c\n d\n",
];
t.test("CFG-01 editing a file without a final newline, and other odd ends", { skip }, (t) =>
  same(
    t,
    ENDS.flatMap((main) => [
      { main, args: ["-e", "c=d"] },
      { main, args: ["-e", "a=new", "z=1"] },
      { main, args: ["-X", "a"] },
      { main, args: ["-#", "a"] },
    ]),
  ),
);

const MASTER = `# first
smtp      inet  n       -       n       -       -       smtpd
  -o smtpd_helo_required=yes
# between
  -o { mynetworks = 1.2.3.4, 5.6.7.8 } -v
smtp      unix  -       -       n       -       -       smtp
smtp      inet  n       -       n       -       1       smtpd
pickup unix n - n 60 1 pickup`;
t.test("CFG-02 the same name twice in one command or file", { skip }, (t) =>
  same(t, [
    { main: "a = 1\nb = 2\na = 3\n", args: ["-e", "a=1", "a=2"] },
    { main: "a = 1\nb = 2\na = 3\n", args: ["-X", "a", "a"] },
    { main: "a = 1\n x\nb = 2\na = 3\n", args: ["-#", "a", "a"] },
    { main: "a = 1\n", args: ["-e", "n=1", "m=2", "n=3"] },
    ...[
      ["-Me", "smtp/inet=smtp inet n - - - 5 smtpd"],
      ["-M", "smtp/inet=smtp inet n - - - 5 smtpd", "smtp/inet=smtp inet n - - - 6 smtpd"],
      ["-M", "new/inet=old inet n - n - - smtpd"],
      ["-M", "new/inet=new inet n - n - - smtpd -v -o a=b"],
      ["-MX", "smtp/inet"],
      ["-MX", "nosuch/inet"],
      ["-M#", "smtp/inet", "smtp/inet"],
      ["-MX", "smtp"],
      ["-F", "smtp/inet/maxproc=7"],
      ["-F", "smtp/unix/command=smtp -v"],
      ["-F", "smtp/*/chroot=y"],
      ["-F", "smtp/inet/nosuch=1"],
      ["-F", "*/*/chroot=y"],
      ["-P", "smtp/inet/smtpd_helo_required=no"],
      ["-P", "smtp/unix/x=y z"],
      ["-PX", "smtp/inet/mynetworks"],
      ["-PX", "*/*/mynetworks"],
      ["-P", "nosuch/unix/a=b"],
      ["-M", "smtp/inet=bad"],
      ["-M", "smtp=smtp inet n - - - - smtpd"],
      ["-F", "smtp/inet/wakeup=x"],
      ["-F", "smtp/inet/private=z"],
    ].map((args) => ({ master: MASTER, args })),
  ]),
);

t.test("CFG-03 comments, continuation lines and odd bytes", { skip }, (t) =>
  same(
    t,
    [
      "relayhost = a # no comment\n",
      "relayhost = a\n# comment\n b\n",
      "relayhost = a\n\n b\n",
      "relayhost = a\n   \n\tb\n#x\n   # y\n c\n",
      "relayhost\t=\ta\t b\n",
      "relayhost = a\r\nmydomain = b\r\n",
      Buffer.from("relayhost = a\0b\nmydomain = c\n", "latin1"),
      Buffer.from("\xef\xbb\xbfrelayhost = a\n", "latin1"),
      `relayhost = ${"x".repeat(1 << 20)}\n`,
      "relayhost a\n",
      "= a\n",
      " relayhost = a\n",
      "relayhost = $mydomain ${mydomain ${x\n",
      "relay host = a\n",
    ].flatMap((main) => [
      { main, args: ["-n"] },
      { main, args: ["-nx", "relayhost"] },
    ]),
  ),
);

const debian = (name: string): string =>
  skip === false ? readFileSync(`${REFERENCE}/etc/postfix/${name}`, "latin1") : "";
t.test("every way of showing Debian's configuration and a peculiar one", { skip }, (t) => {
  const odd = {
    main: `${debian("main.cf")}
foo_bar = $relayhost $baz
smtpd_recipient_restrictions = permit_mynetworks, foo_bar, check_client_access hash:/x
smtpd_restriction_classes = aa
aa = permit
mynetworks_style = class
smtpd_sender_restrictions = reject_unknown_address
virtual_maps = hash:/y
`,
    master: `${debian("master.cf")}sub unix n - - - - smtp
  -o smtp_helo_name=foo  -o unknown_x=$foo_bar
 -o { smtp_tls_policy_maps = a b } -v
`,
  };
  const shown = [
    ["-n"],
    ["-nf"],
    ["-nx"],
    ["-nh"],
    ["-nH"],
    ["-nj"],
    ["-nq"],
    ["-M"],
    ["-Mf"],
    ["-Mj"],
    ["-MH"],
    ["-Mx"],
    ["-F"],
    ["-Fj"],
    ["-Fh"],
    ["-FH"],
    ["-P"],
    ["-Pj"],
    ["-Px"],
    ["-Ph"],
    ["-M", "smtp"],
    ["-M", "smtp/inet"],
    ["-F", "smtp/unix/command"],
    ["-F", "*/unix/chroot"],
    ["-P", "sub/unix/smtp_helo_name"],
    ["-P", "sub"],
    ["-C", "service", "-H"],
    ["-C", "user"],
    ["-d", "relayhost", "mynetworks"],
    ["-o", "relayhost=x", "relayhost"],
    ["-x", "smtpd_banner", "nosuch"],
    ["-h", "relayhost", "myorigin"],
    ["-p", "myorigin"],
    ["-l"],
    ["-X"],
    ["-#"],
    ["-e"],
    ["-e", "a"],
    ["-n", "-d"],
    ["-M", "-F"],
    ["-e", "-M", "smtp/inet"],
    ["-C", "nosuch"],
    ["-e", "#a=b"],
    ["-e", "a=b\nc=d"],
  ];
  return same(
    t,
    shown.map((args) => ({ ...odd, args })),
  );
});

t.test("what is bad in the settings behind the defaults of this machine", { skip }, (t) =>
  same(
    t,
    [
      "compatibility_level = x",
      "compatibility_level =",
      "compatibility_level = 1.1024",
      "compatibility_level = 8796093022207",
      "compatibility_level = 8796093022208",
      "compatibility_level = $/",
      "compatibility_level = x\nmynetworks_style = host",
      "compatibility_level = x\nmynetworks = 127.0.0.1",
      "compatibility_level = x\ninet_protocols = ipv5",
      "inet_protocols = ipv5",
      "inet_protocols = ipv4, x",
      "inet_protocols =",
      "inet_protocols = $/",
      "inet_protocols = ipv5\nmynetworks = 127.0.0.1",
      "inet_protocols = ipv5\nrelayhost = $/",
      "myhostname = $/",
      "myhostname = -a",
      "myhostname = a..b",
      "myhostname =",
      "mydomain = $/",
      "mydomain = $/\nmyhostname = a.example",
      "mydomain = example\nmyhostname = $/",
      "mynetworks = 127.0.0.1\nmydomain = $/",
      "mynetworks_style = x",
      "mynetworks_style =",
      "mynetworks_style = x\ninet_interfaces = nosuch.invalid",
      "mynetworks_style = x\ninet_interfaces = $/",
      "inet_interfaces = nosuch.invalid",
      "inet_interfaces = $x",
      "relayhost = $/",
      "relayhost = ${x",
    ].flatMap((setting) =>
      [["relayhost"], ["-n"], ["-M"], ["-o", "a=b", "relayhost"], ["-d", "relayhost"], ["-l"], ["-e", "a=b"]]
        .concat(
          /(\$\/|= x|ipv|-a|\.\.)/.test(setting) && !setting.includes("mynetworks = ")
            ? [["-b"], ["-t"], ["-m"]]
            : [],
        )
        .map((args) => ({ main: `${setting}\n`, args })),
    ),
  ),
);

/** Values of this build, or of another release. */
const OWN =
  /^(service_name|process_id|mail_version|mail_release_date|milter_macro_v|(daemon|html|readme|config|meta|manpage|shlib)_directory|tls_(ffdhe_auto_groups|eecdh_auto_curves)|alias_maps|alias_database|local_recipient_maps|proxy_(read|write)_maps) =/;
/** Which tables are there by default is the distributor's choice. */
const TYPES = "default_database_type = lmdb\ndefault_cache_db_type = lmdb\n";
t.test("CFG-09 every value at each compatibility level, and with each old name set", { skip }, async (t) => {
  if ("missing" in real) return;
  const old = Object.entries(PARAMETERS)
    .filter(([, row]) => row[5] === "")
    .map(([name]) => `${name} = some.value.test\n`);
  const mains = ["0", "1", "2", "3.5", "3.6", "3.11"].map(
    (level) => `${TYPES}compatibility_level = ${level}\n`,
  );
  const queue = [...mains, ...old.map((line) => `${TYPES}compatibility_level = 3.11\n${line}`)];
  const values = (text: string): Map<string, string> =>
    new Map(
      text
        .split("\n")
        .filter((line) => !OWN.test(line))
        .map((line) => [line.split(" =")[0] ?? "", line]),
    );
  const worker = async (): Promise<void> => {
    for (let main = queue.shift(); main !== undefined; main = queue.shift()) {
      const [theirs, ours] = await Promise.all(
        [join(real.sbin, "postconf"), join(PROGRAMS.multicall, "sbin/postconf")].map((program) =>
          run(program, { main: main ?? "", args: ["-x"] }),
        ),
      );
      const own = values(ours?.stdout ?? "");
      // what only one of the two releases has is no matter here
      const different = [...values(theirs?.stdout ?? "")].filter(
        ([name, line]) => own.has(name) && own.get(name) !== line,
      );
      t.same(
        different.map(([name, line]) => [line, own.get(name)]),
        [],
        main,
      );
      t.equal(ours?.stderr, theirs?.stderr, main);
    }
  };
  await Promise.all(Array.from({ length: 4 }, worker));
});
