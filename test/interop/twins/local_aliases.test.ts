/** Aliases of every form end in the same mailboxes as with the real Postfix. */
import { chmodSync, chownSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { command } from "../support/mixed.ts";
import { reference } from "../support/reference.ts";
import { type Mail, Twins } from "../support/twins.ts";

const programs = reference();
const skip = "missing" in programs ? { skip: programs.missing } : {};

const ALIASES = `
postmaster: nobody
mailer-daemon: postmaster
one: games
two: games, news
self: self
chain: chain1
chain1: chain2
chain2: games
ring: ring1
ring1: ring
cmd: "|cat > DIR/mail/probe.$$"
cmdplain: |DIR/bin/probe alpha beta
cmdfail: "|echo oops; exit 1"
cmdtemp: "|echo wait; exit 75"
cmdnouser: "|exit 67"
cmdnone: "|/no/such/command"
cmdkill: "|kill -9 $$"
cmdenv: "|DIR/bin/probe"
cmdshell: "|echo $USER > DIR/mail/probe.$$"
file: DIR/mail/file
filedir: DIR/mail/afolder/
fileexec: DIR/bin/probe
filenone: /no/such/dir/file
filefifo: /dev/null
owned: games, news
owner-owned: list
ownedbad: "|exit 1"
owner-ownedbad: games
owned-request: news
inc: :include:DIR/inc/members
incnone: :include:DIR/inc/none
incworld: :include:DIR/inc/world
increl: :include:relative
incdir: :include:DIR/inc
inclink: :include:DIR/inc/link
inccmd: :include:DIR/inc/cmd
incuser: :include:DIR/inc/user
incempty: :include:DIR/inc/empty
escaped: \\games
quoted: "games"@localhost, Some Phrase <news@localhost>, (comment) list@localhost
group: friends: games, news;
remote: x@trash.test
remotebad: x@broken.test
remoteslow: x@slow.test
mixed: games, x@trash.test, x@broken.test, "|exit 75"
bad: games@, @localhost
nullitem: ""
tilde: ~/box
tildeuser: ~games/box
ext: games+list
plus: x+y
plus+special: news
unknown: nosuchuser
badquote: "unterminated
"with space": games
upper: GAMES
dup: games, games, one, two
empty2: <>
comment: (only a comment)
owner-list2: owner-list2-request
list2: games, nosuchuser2
percent: games%localhost
bang: localhost!games
route: @localhost:news@localhost
minus: -f@localhost
longchain: :include:DIR/inc/chain0
`;

const prepare = (dir: string): void => {
  for (const name of ["bin", "inc"]) mkdirSync(join(dir, name));
  const file = (path: string, text: string, mode = 0o644): void => {
    writeFileSync(join(dir, path), text.replaceAll("DIR", dir));
    chmodSync(join(dir, path), mode);
  };
  file("aliases.src", ALIASES);
  file(
    "bin/probe",
    '#!/bin/sh\n{ pwd; id; echo "n=$#"; for a; do echo "[$a]"; done; env | sort; echo; cat; } > DIR/mail/probe.$$ 2>&1\n',
    0o755,
  );
  file("inc/members", "# members\ngames\nnews, x@trash.test\n\n  list  \n");
  file("inc/world", "games\n", 0o666);
  file("inc/empty", "# nobody\n\n");
  symlinkSync(join(dir, "inc/members"), join(dir, "inc/link"));
  file("inc/cmd", '"|cat > DIR/mail/fromlist"\n');
  file("inc/user", '"|id > DIR/mail/fromuser"\nDIR/mail/userfile\n');
  chownSync(join(dir, "inc/user"), 5, 60);
  for (let index = 0; index < 150; index++)
    file(`inc/chain${index}`, index === 149 ? "games\n" : `:include:DIR/inc/chain${index + 1}\n`);
};

const names = [
  "one",
  "two",
  "self",
  "chain",
  "ring",
  "cmd",
  "cmdplain",
  "cmdfail",
  "cmdtemp",
  "cmdnouser",
  "cmdnone",
  "cmdkill",
  "cmdenv+ext",
  "cmdshell",
  "file",
  "filedir",
  "fileexec",
  "filenone",
  "filefifo",
  "owned",
  "ownedbad",
  "owned-request",
  "owner-owned",
  "inc",
  "incnone",
  "incworld",
  "increl",
  "incdir",
  "inclink",
  "inccmd",
  "incuser",
  "escaped",
  "quoted",
  "group",
  "remote",
  "remotebad",
  "remoteslow",
  "mixed",
  "bad",
  "nullitem",
  "tilde",
  "tildeuser",
  "ext",
  "plus+y",
  "plus+special",
  "one+ext",
  "unknown",
  "badquote",
  '"with space"',
  "upper",
  "ONE",
  "dup",
  "empty2",
  "comment",
  "list2",
  "percent",
  "bang",
  "route",
  "minus",
  "longchain",
  "mailer-daemon",
  "games/x",
  "games+a/b",
  "nosuchuser",
  "postmaster+x",
  "\\\\games",
];

t.test("aliases", { ...skip, timeout: 120_000 }, async (t) => {
  if ("missing" in programs) return;
  const twins = await Twins.start(t, programs, {
    prepare,
    mainCf: (dir) => `alias_maps = cdb:${dir}/config/aliases
recipient_delimiter = +
local_recipient_maps =
allow_mail_to_commands = alias, forward, include
allow_mail_to_files = alias, forward
`,
  });
  for (const instance of twins.both) {
    const source = join(instance.config, "aliases");
    writeFileSync(source, ALIASES.replaceAll("DIR", instance.directory));
    t.equal(command(instance, "postalias", [`cdb:${source}`]).status, 0);
  }
  await twins.compare(
    t,
    "aliases of every form",
    names.map((name): Mail => ({ name, to: [`${name}@localhost`] })),
  );
});
