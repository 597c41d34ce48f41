/** `postfix check` and `postfix set-permissions` beside real ones: every entry of postfix-files broken, one at a time, found and repaired. */
import { execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  chownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { PROGRAMS } from "../system/support/harness.ts";
import { reference } from "./support/reference.ts";

t.setTimeout(180_000);
const real = reference();
const skip = "missing" in real ? real.missing : false;
const scratch = mkdtempSync(join(tmpdir(), "posthaste-permissions-"));
chmodSync(scratch, 0o755);
t.teardown(() => rmSync(scratch, { recursive: true, force: true }));

const QUEUES = "active bounce corrupt defer deferred flush hold incoming saved tlstrace trace".split(" ");
const DAEMONS = "cleanup master qmgr smtpd".split(" ");
const FILES = [
  "# a comment",
  "$config_directory:d:root:-:755:u",
  "$data_directory:d:$mail_owner:-:700:uc",
  "$daemon_directory:d:root:-:755:u",
  "$queue_directory:d:root:-:755:uc",
  ...QUEUES.map((name) => `$queue_directory/${name}:d:$mail_owner:-:700:ucr`),
  "$queue_directory/maildrop:d:$mail_owner:$setgid_group:730:uc",
  "$queue_directory/private:d:$mail_owner:-:700:uc",
  "$queue_directory/public:d:$mail_owner:$setgid_group:710:uc",
  "$queue_directory/pid:d:root:-:755:uc",
  "$meta_directory/postfix-files.d:d:root:-:755",
  ...DAEMONS.map((name) => `$daemon_directory/${name}:f:root:-:755`),
  "$command_directory/postcat:f:root:-:755",
  "$command_directory/postdrop:f:root:$setgid_group:2755:u",
  "$command_directory/postqueue:f:root:$setgid_group:2755:u",
  "$command_directory/sendmail:f:root:-:755",
  "$command_directory/mailq:l:$command_directory/sendmail",
  "$config_directory/access:f:root:-:644:p1",
  "$config_directory/main.cf:f:root:-:644:p",
  "$config_directory/master.cf:f:root:-:644:p",
  "$meta_directory/postfix-files:f:root:-:644",
  "$manpage_directory/man1/postfix.1:f:root:-:644",
  "$manpage_directory/man5/access.5:f:root:-:644",
  "$readme_directory:d:root:-:755",
  "$readme_directory/INSTALL:f:root:-:644",
  "$html_directory/index.html:f:root:-:644",
  "$config_directory/old_file:f:root:-:600:o",
  "",
];
const EXTRA = "$config_directory/extra:f:root:-:600\n";

/** An installation in a folder of its own, small files in place of what is not started. */
class Installation {
  readonly directory: string;

  constructor(
    readonly name: "ours" | "real",
    folder: string = name,
  ) {
    this.directory = join(scratch, folder);
    for (const folder of [
      "config",
      "queue",
      "data",
      "meta/postfix-files.d",
      "man/man1",
      "man/man5",
      "readme",
    ])
      mkdirSync(join(this.directory, folder), { recursive: true });
    if (name === "ours") this.#ours();
    else this.#theirs();
    for (const daemon of DAEMONS) {
      rmSync(this.path(`libexec/${daemon}`), { force: true });
      writeFileSync(this.path(`libexec/${daemon}`), "#!/bin/sh\nexit 0\n");
    }
    for (const command of ["postcat", "postdrop", "postqueue", "sendmail"]) {
      rmSync(this.path(`sbin/${command}`), { force: true });
      writeFileSync(this.path(`sbin/${command}`), "#!/bin/sh\nexit 0\n");
    }
    rmSync(this.path("sbin/mailq"), { force: true });
    symlinkSync("sendmail", this.path("sbin/mailq"));
    for (const file of ["man/man1/postfix.1", "man/man5/access.5", "readme/INSTALL"])
      writeFileSync(this.path(file), "text\n");
    for (const file of ["access", "extra", "old_file"]) writeFileSync(this.path(`config/${file}`), "text\n");
    writeFileSync(this.path("meta/postfix-files"), FILES.join("\n"));
    writeFileSync(this.path("meta/postfix-files.d/extra"), EXTRA);
    writeFileSync(this.path("config/main.cf"), this.#mainCf());
    writeFileSync(this.path("config/master.cf"), "pickup unix n - n 60 1 pickup\n");
    for (const file of ["main.cf", "master.cf"])
      utimesSync(this.path(`config/${file}`), 1_700_000_000, 1_700_000_000);
  }

  #ours(): void {
    // links between the programs stay; the build's own files are not touched
    execFileSync("cp", [
      "-a",
      join(PROGRAMS.multicall, "sbin"),
      join(PROGRAMS.multicall, "libexec"),
      this.directory,
    ]);
  }

  #theirs(): void {
    if ("missing" in real) return;
    execFileSync("cp", ["-a", real.sbin, real.libexec, this.directory]);
    // what Debian does with its jail afterwards is no concern of ours
    const script = this.path("libexec/post-install");
    const text = readFileSync(script, "latin1").replaceAll("/usr/lib/postfix/configure-instance.sh", "true");
    writeFileSync(script, text, "latin1");
  }

  #mainCf(): string {
    const { directory } = this;
    return `compatibility_level = 3.11
queue_directory = ${directory}/queue
data_directory = ${directory}/data
command_directory = ${directory}/sbin
daemon_directory = ${directory}/libexec
meta_directory = ${directory}/meta
manpage_directory = ${directory}/man
readme_directory = ${directory}/readme
html_directory = no
sample_directory = ${directory}/config
shlib_directory = no
sendmail_path = ${directory}/sbin/sendmail
mailq_path = ${directory}/sbin/mailq
newaliases_path = ${directory}/sbin/newaliases
mail_owner = daemon
setgid_group = mail
maillog_file =
inet_protocols = ipv4
`;
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  /** Status and what was said, without the folder. */
  async run(command: string): Promise<{ status: number | null; lines: string[] }> {
    const child = spawn(this.path("sbin/postfix"), ["-c", this.path("config"), command], {
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", TZ: "UTC" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let text = "";
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("latin1").on("data", (piece: string) => {
        text += piece;
      });
    const status = await new Promise<number | null>((done) => child.on("close", done));
    const lines = text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) =>
        line
          .replaceAll(this.directory, "")
          .replace(/A1000[0-9A-F]+/g, "ID")
          .replace(/^\S*(postlog|postfix-script): /, ""),
      )
      .sort();
    return { status, lines };
  }

  /** Mode, owner and group of everything that is installed or belongs to the queue. */
  state(): string[] {
    const seen: string[] = [];
    const look = (path: string): void => {
      const stat = lstatSync(this.path(path));
      seen.push(
        `${path.replace(/A1000[0-9A-F]+/, "ID")} ${(stat.mode & 0o177777).toString(8)} ${stat.uid}:${stat.gid}`,
      );
      if (stat.isDirectory()) for (const name of readdirSync(this.path(path)).sort()) look(join(path, name));
    };
    for (const top of ["config", "queue", "data", "meta", "man", "readme"]) look(top);
    for (const name of DAEMONS) look(`libexec/${name}`);
    for (const name of ["postcat", "postdrop", "postqueue", "sendmail", "mailq"]) look(`sbin/${name}`);
    return seen;
  }
}

const GAMES = { uid: 5, gid: 60 };

interface Break {
  readonly name: string;
  readonly apply: (path: (name: string) => string) => void;
}

/** Where an entry of the list is in our folder. */
const placeOf = (entry: string): string =>
  entry
    .replace("$config_directory", "config")
    .replace("$data_directory", "data")
    .replace("$daemon_directory", "libexec")
    .replace("$queue_directory", "queue")
    .replace("$meta_directory", "meta")
    .replace("$command_directory", "sbin")
    .replace("$manpage_directory", "man")
    .replace("$readme_directory", "readme");

/** Entries that are alike are broken together. */
const kindOf = (line: string): string =>
  line.replace(
    /^\$queue_directory\/(bounce|corrupt|defer|flush|hold|incoming|saved|trace):|^\$daemon_directory\/(cleanup|master|qmgr):/,
    "others:",
  );

/** Wrong owner, group and mode of each entry; created directories missing; odd things below the recursive ones. */
function breaks(): Break[] {
  const kinds = new Map<string, string[]>();
  for (const line of [...FILES, EXTRA.trim()]) {
    const [entry = "", type, , , , flags = ""] = line.split(":");
    if (!entry.startsWith("$") || type === "l" || flags.includes("o") || entry.startsWith("$html")) continue;
    kinds.set(kindOf(line), [...(kinds.get(kindOf(line)) ?? []), line]);
  }
  const all: Break[] = [...kinds.values()].map((lines) => ({
    name: `${lines.map((line) => placeOf(line.split(":")[0] ?? "")).join(", ")}: owner, group and mode`,
    apply: (path) => {
      for (const line of lines) damage(line, path);
    },
  }));
  for (const place of ["queue/active", "queue/public"])
    all.push({ name: `${place} is missing`, apply: (path) => rmdirSync(path(place)) });
  all.push(
    {
      name: "what is below a queue directory",
      apply: (path) => {
        mkdirSync(path("queue/deferred/A"));
        chmodSync(path("queue/deferred/A"), 0o777);
        chownSync(path("queue/deferred/A"), 1, 1);
        writeFileSync(path("queue/deferred/A/message"), "x");
        const { ino } = lstatSync(path("queue/deferred/A/message"));
        const id = `A1000${ino.toString(16).toUpperCase()}`;
        renameSync(path("queue/deferred/A/message"), path(`queue/deferred/A/${id}`));
        mkdirSync(path("queue/hold/B"));
        symlinkSync(path("config/main.cf"), path("queue/corrupt/link"));
        writeFileSync(path("data/left"), "x", { mode: 0o666 });
        chmodSync(path("data/left"), 0o666);
      },
    },
    {
      name: "files of the configuration that nobody lists",
      apply: (path) => {
        writeFileSync(path("config/transport"), "x");
        chmodSync(path("config/transport"), 0o662);
        chownSync(path("config/transport"), GAMES.uid, GAMES.gid);
      },
    },
  );
  return all;
}
function damage(line: string, path: (name: string) => string): void {
  const [entry = "", type, , group, mode] = line.split(":");
  const place = path(placeOf(entry));
  // a group that is not listed is left alone
  chownSync(place, GAMES.uid, group === "-" ? lstatSync(place).gid : GAMES.gid);
  chmodSync(place, type === "d" ? 0o777 : mode === "2755" ? 0o744 : 0o666);
}

t.test("every entry, one at a time", { skip }, async (t) => {
  const pair = (["ours", "real"] as const).map((name) => new Installation(name));
  const both = <T>(work: (installation: Installation) => Promise<T>): Promise<T[]> =>
    Promise.all(pair.map(work));
  const [first, real] = await both(async (installation) => [
    await installation.run("set-permissions"),
    await installation.run("check"),
    installation.state(),
  ]);
  t.same(first, real, "a fresh one");
  t.same(first?.[0], { status: 0, lines: [] });
  const clean = pair.map((installation) => installation.state());
  for (const { name, apply } of breaks()) {
    const [ours, theirs] = await both(async (installation) => {
      apply((place) => installation.path(place));
      const found = await installation.run("check");
      return { found, repaired: await installation.run("set-permissions"), state: installation.state() };
    });
    t.same(ours, theirs, name);
    if (!/below|nobody lists/.test(name)) t.same(ours?.state, clean[0], `${name}: all is as it was`);
  }
});

t.test("what the mail owner has made below is nobody else's way to root's files", { skip }, async (t) => {
  const installation = new Installation("ours", "attacked");
  await installation.run("set-permissions");
  const victim = join(scratch, "victim");
  mkdirSync(join(victim, "inner"), { recursive: true, mode: 0o711 });
  writeFileSync(join(victim, "shadow"), "secret", { mode: 0o600 });
  const look = (): string[] =>
    [victim, join(victim, "inner"), join(victim, "shadow")].map((path) => {
      const { uid, gid, mode } = lstatSync(path);
      return `${uid}:${gid} ${mode.toString(8)}`;
    });
  const before = look();
  symlinkSync(victim, installation.path("queue/deferred/A"));
  symlinkSync(join(victim, "shadow"), installation.path("queue/active/A10000ABCDE"));
  linkSync(join(victim, "shadow"), installation.path("queue/hold/A10001ABCDE"));
  // a directory that is a link a moment later, as often as somebody who waits for it could make it
  const race = spawn("setpriv", [
    ...["--reuid=1", "--regid=1", "--clear-groups", "perl", "-e"],
    'my ($d, $v) = @ARGV; while (1) { mkdir "$d/r"; rmdir "$d/r"; symlink $v, "$d/r"; unlink "$d/r"; }',
    ...[installation.path("queue/incoming"), victim],
  ]);
  for (let round = 0; round < 5; round++) {
    const { status, lines } = await installation.run("set-permissions");
    t.equal(status, 0, lines.join("\n"));
    t.match(lines.join("\n"), /warning: \/queue\/hold\/ID: file has 2 hard links, left as it is/);
  }
  race.kill();
  t.same(look(), before);
});
