/** Odd command lines, environments and settings: ours says what the real program says, on both outputs and in its status. */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { PROGRAMS } from "../system/support/harness.ts";
import { dynamicMaps, reference } from "./support/reference.ts";

t.setTimeout(120_000);
const real = reference();
const skip = "missing" in real ? { skip: real.missing } : {};

interface Case {
  readonly program: string;
  /** Byte strings; DIR is the directory of the case. */
  readonly args: ReadonlyArray<string>;
  readonly argv0?: string;
  /** Lines of main.cf after those that all cases have. */
  readonly main?: string;
  /** Byte strings. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly input?: string;
  /** Folders that are there. */
  readonly folders?: ReadonlyArray<string>;
  /** Programs that are there: scripts. */
  readonly scripts?: Readonly<Record<string, string>>;
}

const MAIN_CF = `compatibility_level = 3.11
queue_directory = DIR
command_directory = DIR
daemon_directory = DIR
meta_directory = DIR
shlib_directory = no
maillog_file = DIR/log
maillog_file_prefixes = /
mail_owner = games
setgid_group = uucp
default_privs = nobody
default_database_type = lmdb
default_cache_db_type = lmdb
inet_protocols = ipv4
import_environment = MAIL_CONFIG LANG=C
`;
/** A word for printf(1) in the shell: the test's own runtime would not pass bytes that are no UTF-8. */
const quoted = (bytes: string): string =>
  `"$(printf '${[...bytes].map((char) => `\\${char.charCodeAt(0).toString(8).padStart(3, "0")}`).join("")}.')"`;

/** What was logged, without times and process ids. */
function logOf(directory: string): string {
  const path = join(directory, "log");
  const text = existsSync(path) ? readFileSync(path, "latin1") : "";
  return text.replace(/^\w{3} +\d+ [\d:]{8} \S+ /gm, "").replace(/\[\d+\]: /g, ": ");
}

let count = 0;
async function run(folder: string, root: string, one: Case): Promise<string> {
  const directory = join(root, String(count++).padStart(5, "0"));
  for (const name of [directory, ...(one.folders ?? []).map((name) => join(directory, name))])
    mkdirSync(name);
  for (const [name, text] of [
    ["main.cf", `${MAIN_CF}${one.main ?? ""}`.replaceAll("DIR", directory)],
    ["master.cf", ""],
    ["postfix-files", ""],
    ["dynamicmaps.cf", "missing" in real ? "" : dynamicMaps(real.libraries)],
  ] as const) {
    writeFileSync(join(directory, name), text, "latin1");
    utimesSync(join(directory, name), 1e9, 1e9);
  }
  for (const [name, text] of Object.entries(one.scripts ?? {}))
    writeFileSync(join(directory, name), text, { mode: 0o755 });
  const program = join(folder, one.program);
  const script = [
    ...one.args.map((arg) => `w=${quoted(arg.replaceAll("DIR", directory))}; set -- "$@" "\${w%.}"`),
    ...Object.entries(one.environment ?? {}).map(
      ([name, value]) => `w=${quoted(value.replaceAll("DIR", directory))}; export ${name}="\${w%.}"`,
    ),
    `exec -a ${one.argv0 ?? one.program} ${program} "$@"`,
  ].join("\n");
  return new Promise((resolve) => {
    const child = spawn("/bin/bash", ["-c", script, one.program], {
      cwd: directory,
      env: { PATH: "/usr/bin:/bin", LANG: "C", MAIL_CONFIG: directory },
    });
    const heard = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const)
      child[name].on("data", (chunk: Buffer) => {
        heard[name] += chunk.toString("latin1");
      });
    child.stdin.on("error", () => undefined);
    child.stdin.end(one.input ?? "", "latin1");
    child.on("close", (status) =>
      resolve(
        `status ${status}\n${heard.stdout}\n--- stderr\n${heard.stderr}\n--- log\n${logOf(directory)}`
          .replaceAll(directory, "DIR")
          // what bash adds
          .replace(/^(?:PWD|OLDPWD|SHLVL|_)=.*\n/gm, ""),
      ),
    );
  });
}

async function same(t: Test, kind: "sbin" | "libexec", cases: ReadonlyArray<Case>): Promise<void> {
  if ("missing" in real) return;
  const root = mkdtempSync(join(tmpdir(), "posthaste-lines-"));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  const queue = cases.values();
  const worker = async (): Promise<void> => {
    for (const one of queue) {
      const [ours, theirs]: string[] = await Promise.all(
        [join(PROGRAMS.multicall, kind), real[kind]].map((folder) => run(folder, root, one)),
      );
      t.equal(ours, theirs, JSON.stringify(one));
    }
  };
  // what is fatal takes a second
  await Promise.all(Array.from({ length: 16 }, worker));
}

const sendmail = (...args: string[]): Case => ({ program: "sendmail", args, input: "Subject: x\n\nbody\n" });
t.test("sendmail: modes, options that are refused, and those that are ignored", skip, (t) =>
  same(t, "sbin", [
    ...[
      ..."h f bz ba bt n qS qI qR A b d a".split(" ").map((option) => [`-${option}`]),
      ..."-Z -XVxxx -q -bd -bp -bi -I -bs -bl".split(" ").map((option) => [option, "x"]),
      ["-qIABCDEF0123"],
      ["-qRx", "y"],
      ["-q5m", "x"],
      ["-bd"],
      ["-bd", "-q"],
      ["-q", "-bd"],
      ["-bh", "x"],
      ["-oAfile", "-bi"],
      ["-oA", "-bi"],
      ["-bv", "-t"],
      ["-bv", "-N", "never", "x"],
      ["-bv", "-v", "x"],
      ["-bs", "-t"],
      ["-X", "log", "x"],
      ["-B", "x", "y"],
      ["-N", "never,success", "x"],
      ["-N", "bogus", "x"],
      ["-R", "x", "y"],
      ["-O", "smtputf8=maybe", "y"],
      ["-O", "requiretls=yes", "y"],
      ["-V", "ab", "x"],
      ["-V+=", "x"],
      ["-V", "x".repeat(101), "x"],
      ["-V", "\xc3\xa9", "x"],
      ["-f", "\xff\xfe", "x"],
      ["-F", "a\nb", "x"],
      ["-C", "/nosuch", "x"],
      ["-C", "DIR/main.cf", "-bp"],
      [],
      [""],
    ].map((args) => sendmail(...args)),
    ...["mailq", "newaliases", "/x/y/mailq", "smtpd", "sendmail.postfix"].flatMap((argv0) =>
      [[], ["-q"], ["-bm"], ["-Z"], ["-bv", "x"]].map((args) => ({ ...sendmail(...args), argv0 })),
    ),
  ]),
);

t.test("words and variables that are no UTF-8", skip, (t) =>
  same(
    t,
    "sbin",
    [{ NAME: "\xe9\xff" }, { X_Y: "\xff", NAME: "J\xc3\xa9" }, { MAIL_CONFIG: "DIR/\xff" }].flatMap(
      (environment) =>
        (
          [
            ["sendmail", "-bp"],
            ["sendmail", "\xff@x"],
            ["postmap", "-q", "a\xff", "static:b\xff"],
            ["postmap", "-q", "NAME", "environ:x"],
            ["postlock", "DIR/f", "env"],
            ["postlock", "DIR/f", "echo", "\xff\xc3\xa9"],
            ["postconf", "myorigin"],
          ] as const
        ).map(([program, ...args]) => ({ program, args, environment })),
    ),
  ),
);

t.test("the environment of postdrop, when sendmail starts it", skip, (t) =>
  same(
    t,
    "sbin",
    [{ NAME: "\xe9\xff" }, { NAME: "J\xc3\xa9", OTHER: "\xff" }, { TZ: "UTC\xe9" }].flatMap((environment) =>
      ["TZ NAME MAIL_CONFIG SET=caf\xe9 { BRACED = a\xff b }", "PATH=/nowhere:/bin:/usr/bin"].map((list) => ({
        ...sendmail("x"),
        environment,
        main: `export_environment = ${list}\n`,
        scripts: { postdrop: '#!/bin/sh\n{ echo "[$*]"; env | sort; } >&2\n' },
      })),
    ),
  ),
);

t.test("faults of main.cf, before each command", skip, (t) =>
  same(
    t,
    "sbin",
    [
      "message_size_limit = 1\xc3\xa9\n",
      "message_size_limit = \xd9\xa1\xd9\xa2\n",
      "message_size_limit = \xff\n",
      "myhostname = h\xc3\xa9.test\n",
      "relayhost = $/\n",
      "inet_protocols = ipv4\nfoo bar\n",
      "known_tcp_ports = a=\n",
      "inet_interfaces = ALL\n",
      "inet_interfaces = nosuch.invalid\n",
      "maillog_file_permissions = 123\nmyorigin = a, b\n",
      "maillog_file_permissions = 123\nmyhostname = h_\n",
      "maillog_file_permissions = 123\nknown_tcp_ports = a=\ninet_interfaces = x\n",
    ].flatMap((main) =>
      (
        [
          ["postqueue", "-p"],
          ["postlock", "DIR/f", "true"],
          ["postkick", "public", "x", "y"],
          ["postalias", "-q", "a", "static:b"],
          ["postsuper", "-p"],
          ["postcat", "-q", "ABC"],
        ] as const
      ).map(([program, ...args]) => ({ program, args, main })),
    ),
  ),
);

t.test("daemons: where they say what is wrong with their options", skip, (t) =>
  same(
    t,
    "libexec",
    [
      ...["bounce", "cleanup", "smtpd", "pickup", "qmgr", "local", "showq", "smtp", "pipe", "anvil"].flatMap(
        (program) => [
          { program, args: ["-V"] },
          { program, args: ["-X"] },
          { program, args: ["-V", "-o", "message_size_limit=x"] },
        ],
      ),
      ...[
        ["-V", "-n", "x"],
        ["-V", "-n", "x", "-o", "syslog_name=bar", "-i", "0"],
        ["-V", "-o", "a"],
        ["-V", "-X"],
        ["-X", "-V"],
        ["-r", "0", "-V"],
        ["-V", "-r", "0"],
        ["-V", "-s", "0"],
        ["-V", "-m", "x"],
        ["-V", "-z", "-t", "bad"],
      ].map((args) => ({
        program: "bounce",
        args,
        main: "syslog_name = foo/$service_name\n",
        environment: { MAIL_LOGTAG: "tag" },
      })),
    ].map((one) => ({ ...one, input: "" })),
  ),
);

t.test("daemons: words that are none of a parameter's names", skip, (t) =>
  same(
    t,
    "libexec",
    (
      [
        ["cleanup", "canonical_classes=envelope_sender foo"],
        ["cleanup", "canonical_classes=Envelope_Sender"],
        ["cleanup", "sender_canonical_classes=foo"],
        ["cleanup", "recipient_canonical_classes=foo"],
        ["cleanup", "masquerade_classes=foo"],
        ["cleanup", "propagate_unmatched_extensions=foo"],
        ["cleanup", "header_from_format=foo"],
        ["bounce", "header_from_format=foo"],
        ["local", "propagate_unmatched_extensions=Alias"],
        ["pickup", "receive_override_options=foo"],
        ["smtpd", "receive_override_options=No_Milters"],
        ["smtpd", "notify_classes=Policy"],
      ] as const
    ).map(([program, setting]) => ({
      program,
      args: ["-S", "-V", "-o", setting],
      main: "alias_maps =\nlocal_recipient_maps =\nsmtpd_relay_restrictions = reject\n",
      input: "",
    })),
  ),
);

t.test("delivery agents: settings that end them at their start", skip, (t) =>
  same(
    t,
    "libexec",
    [
      ["local", "allow_mail_to_files=alias, INCLUDE"],
      ["local", "allow_mail_to_commands=nonsense"],
      ["local", "prepend_delivered_header=nonsense"],
      ["local", "propagate_unmatched_extensions=nonsense"],
      ["local", "mailbox_delivery_lock=FCNTL"],
      ["virtual", "virtual_mailbox_lock=nonsense"],
      ["virtual", "virtual_mailbox_limit=1000"],
      ["virtual", "message_size_limit=0"],
      ["smtp", "propagate_unmatched_extensions=nonsense"],
      ["smtp", "smtp_host_lookup=NATIVE"],
      ["smtp", "smtp_dns_resolver_options=RES_DEFNAMES"],
      ["smtp", "smtp_address_verify_target=nonsense"],
      ["lmtp", "lmtp_address_verify_target=nonsense"],
    ].map(([program = "", setting = ""]) => ({
      program,
      args: ["-S", "-V", "-o", setting],
      main: "virtual_mailbox_base = /x\nalias_maps =\nsmtp_tls_security_level = none\nlmtp_tls_security_level = none\n",
      input: "",
    })),
  ),
);

t.test("names in the log", skip, (t) =>
  same(
    t,
    "sbin",
    ["foo", "foo/$service_name"].flatMap((name) =>
      [
        ["postsuper", "-p"],
        ["postfix", "status"],
        ["postlock", "DIR/f", "env"],
        ["postconf", "-hx", "syslog_name", "service_name"],
      ].map(([program = "", ...args]) => ({
        program,
        args,
        main: `daemon_directory = DIR/nosuch\nsyslog_name = ${name}\n`,
      })),
    ),
  ),
);

t.test("odd operands and input", skip, (t) =>
  same(t, "sbin", [
    { program: "postcat", args: [] },
    ...["x", "\0\0", "\0".repeat(100), "\0\0\0\0C\x01a", "\x01\x01\0\0C\x01a", "a\0b"].map((input) => ({
      program: "postcat",
      args: [],
      input,
    })),
    ...[
      ["-w", "1", "-R", "1"],
      ["-R", "1", "-w", "1"],
      ["-w", "0", "-R", "1"],
    ].map((args) => ({ program: "smtp-source", args: [...args, "127.0.0.1:1"] })),
    ...[
      "tcp:localhost:",
      "tcp:127.0.0.1:99999",
      "tcp:127.0.0.1:-1",
      "tcp:1x",
      "socketmap:inet:x",
      "socketmap:x:y:z",
    ].map((table) => ({
      program: "postmap",
      args: ["-q", "x", table],
    })),
    ...["", "x", "DIR/x:y"].map((word) => ({ program: "postkick", args: ["private", word, "W"] })),
    ...["-lbad", "-lfcntl"].map((style) => ({
      program: "postlock",
      args: [style, "DIR/x", "sh", "-c", "exit 7"],
    })),
  ]),
);

const QUEUES = "defer bounce maildrop incoming active deferred flush hold".split(" ");
t.test("postsuper: a queue directory that is not there", skip, (t) =>
  same(
    t,
    "sbin",
    ["-p", "-s", "-d"].flatMap((option) =>
      ["", ...QUEUES].map((missing) => ({
        program: "postsuper",
        args: option === "-d" ? ["-d", "ALL"] : [option],
        folders: [...QUEUES.filter((name) => name !== missing), "trace", "corrupt"],
      })),
    ),
  ),
);
