/** .forward files of every form, and the choice of a mailbox, end in the same mailboxes as with the real Postfix. */
import { chmodSync, chownSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { reference } from "../support/reference.ts";
import { type Mail, Twins } from "../support/twins.ts";

const programs = reference();
const skip = "missing" in programs ? { skip: programs.missing } : {};

const GAMES = { uid: 5, gid: 60 };
const NEWS = { uid: 9, gid: 9 };

interface ForwardFile {
  readonly text: string;
  readonly suffix?: string;
  readonly mode?: number;
  readonly uid?: number;
  readonly user?: string;
}

const forward = (
  directory: string,
  { text, suffix = "", mode = 0o644, uid, user = "games" }: ForwardFile,
): void => {
  const path = join(directory, "home", user, `.forward${suffix}`);
  writeFileSync(path, text.replaceAll("DIR", directory));
  const own = user === "games" ? GAMES : NEWS;
  chownSync(path, uid ?? own.uid, own.gid);
  chmodSync(path, mode);
};

const clear = (directory: string): void => {
  for (const user of ["games", "news"])
    for (const name of readdirSync(join(directory, "home", user)))
      rmSync(join(directory, "home", user, name), { recursive: true });
};

const prepare = (directory: string): void => {
  for (const [user, { uid, gid }] of [
    ["games", GAMES],
    ["news", NEWS],
  ] as const) {
    const home = join(directory, "home", user);
    mkdirSync(home, { recursive: true });
    chownSync(home, uid, gid);
  }
  mkdirSync(join(directory, "bin"));
  writeFileSync(
    join(directory, "bin/probe"),
    `#!/bin/sh\n{ pwd; id; echo "n=$#"; for a; do echo "[$a]"; done; env | sort; echo; cat; } > ${directory}/mail/probe.$$ 2>&1\n`,
  );
  chmodSync(join(directory, "bin/probe"), 0o755);
  writeFileSync(join(directory, "bin/members"), "news\n# c\nx@trash.test\n");
};

const files: Readonly<Record<string, ReadonlyArray<ForwardFile>>> = {
  none: [],
  "other user": [{ text: "news\n" }],
  "self and other": [{ text: "\\games, news\n" }],
  "self plainly": [{ text: "games, news\n" }],
  "self with domain": [{ text: "games@localhost\n" }],
  empty: [{ text: "" }],
  comments: [{ text: "# nobody\n\n" }],
  command: [{ text: '"|DIR/bin/probe a b"\n' }],
  "failing command": [{ text: '"|exit 1"\n' }],
  "command to be tried again": [{ text: '"|echo full; exit 75"\nnews\n' }],
  file: [{ text: "DIR/mail/afile\n" }],
  maildir: [{ text: "DIR/mail/adir/\n" }],
  "home file": [{ text: "~/box\n" }],
  "somebody's home": [{ text: "~news/box\n" }],
  include: [{ text: ":include:DIR/bin/members\n" }],
  "include missing": [{ text: ":include:DIR/bin/none\nnews\n" }],
  "world writable": [{ text: "news\n", mode: 0o666 }],
  "group writable": [{ text: "news\n", mode: 0o664 }],
  "owner root": [{ text: "news\n", uid: 0 }],
  "owner somebody else": [{ text: "news\n", uid: 38 }],
  unreadable: [{ text: "news\n", mode: 0 }],
  discard: [{ text: "x@trash.test\n" }],
  bounce: [{ text: "x@broken.test\n" }],
  mixed: [{ text: "\\games\nnews, x@trash.test\nDIR/mail/afile\n" }],
  ring: [{ text: "news\n" }, { text: "games\n", user: "news" }],
  "at sign": [{ text: "@\n" }],
  "null address": [{ text: "<>\n" }],
  "quoted null address": [{ text: '""\n' }],
  "two at signs": [{ text: "a@@b\n" }],
  "two lines, one fails": [{ text: "nosuchuser\nnews\n" }],
  "no end of line": [{ text: "news" }],
  "quoted backslash": [{ text: '"\\games"\n' }],
  "alias of its own": [{ text: "likegames\n" }],
};

const withExtension: Readonly<Record<string, ReadonlyArray<ForwardFile>>> = {
  "extension file": [{ text: "news\n", suffix: "+foo" }, { text: "x@broken.test\n" }],
  "extension, general file": [{ text: "news\n" }],
  "extension, own mailbox": [{ text: "\\games\n" }],
  "extension, elsewhere": [{ text: "x@trash.test\n" }],
  "extension file names the user": [{ text: "games\n", suffix: "+foo" }],
  "extension file to command": [{ text: '|"DIR/bin/probe"\n', suffix: "+foo" }],
};

t.test(".forward", { ...skip, timeout: 120_000 }, async (t) => {
  if ("missing" in programs) return;
  const twins = await Twins.start(t, programs, {
    prepare,
    mainCf: (
      dir,
    ) => `alias_maps = inline:{ { likegames = games } { postmaster = nobody } { list-x = games+foo } }
recipient_delimiter = +
local_recipient_maps =
forward_path = ${dir}/home/$user/.forward$recipient_delimiter$extension, ${dir}/home/$user/.forward
propagate_unmatched_extensions = canonical, virtual, alias, forward, include
`,
  });
  const run = (
    name: string,
    to: string,
    list: ReadonlyArray<ForwardFile>,
    more: Partial<Mail> = {},
  ): Promise<void> =>
    twins.compare(t, name, [
      {
        name,
        to: [to],
        before: (directory) => {
          clear(directory);
          for (const file of list) forward(directory, file);
        },
        ...more,
      },
    ]);
  await twins.compare(
    t,
    "files of many forms",
    Object.entries(files).map(
      ([name, list], index): Mail => ({
        name,
        to: [`games+case${index}@localhost`],
        before: (directory) => {
          for (const file of list) forward(directory, { ...file, suffix: `+case${index}` });
        },
      }),
    ),
  );
  for (const name of ["other user", "self and other", "self plainly", "world writable", "ring", "mixed"])
    await run(name, "games@localhost", files[name] ?? []);
  for (const [name, list] of Object.entries(withExtension)) await run(name, "games+foo@localhost", list);
  await run("extension with odd characters", "games+f$o`o@localhost", [{ text: "news\n", suffix: "+f_o_o" }]);
  await run("alias with extension", "list-x@localhost", [{ text: "news\n", suffix: "+foo" }]);
  await run("alias with extension to propagate", "likegames+foo@localhost", [
    { text: "news\n", suffix: "+foo" },
  ]);
  await run("a loop", "games@localhost", [{ text: "news\n" }], {
    text: "Delivered-To: GAMES@localhost\nSubject: NAME\n\nx\n",
  });
  await run("a loop at the second step", "games@localhost", [{ text: "news@localhost\n" }], {
    text: "Subject: NAME\nDelivered-To: news@localhost\n\nx\n",
  });
  await run(
    "NOTIFY=SUCCESS",
    "games@localhost NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;orig@x",
    [{ text: "\\games, news, x@trash.test, x@broken.test\n" }],
    { from: "nobody@localhost", parameters: "ENVID=abc RET=HDRS" },
  );
  await run(
    "NOTIFY=NEVER",
    "games@localhost NOTIFY=NEVER",
    [{ text: "\\games, news, x@trash.test, x@broken.test\n" }],
    { from: "nobody@localhost" },
  );
  for (const mode of ["-bv", "-v"])
    for (const [name, list] of Object.entries({
      command: files.command,
      file: files.file,
      mixed: files.mixed,
      none: files.none,
      ring: files.ring,
    }))
      await run(`${name} ${mode}`, "games@localhost", list ?? [], {
        sendmail: [mode, "-f", "nobody@localhost"],
      });
  await run("a link", "games@localhost", [], {
    before: (directory) => {
      clear(directory);
      forward(directory, { text: "news\n", suffix: ".real" });
      symlinkSync(join(directory, "home/games/.forward.real"), join(directory, "home/games/.forward"));
    },
  });
  await run("a folder", "games@localhost", [], {
    before: (directory) => {
      clear(directory);
      mkdirSync(join(directory, "home/games/.forward"));
    },
  });
});
