/** Where local(8), virtual(8) and pipe(8) put mail, and with what rights, is where the real ones put it. */
import { chmodSync, chownSync, linkSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { reference } from "../support/reference.ts";
import { type Mail, type Scene, Twins } from "../support/twins.ts";

const programs = reference();
const skip = "missing" in programs ? { skip: programs.missing } : {};
const options = { ...skip, timeout: 120_000 };
t.setTimeout(240_000);

const BASE = `recipient_delimiter = +
local_recipient_maps =
alias_maps = inline:{ { postmaster = nobody } }
`;

const probe = (directory: string): void => {
  mkdirSync(join(directory, "bin"), { recursive: true });
  const path = join(directory, "bin/probe");
  writeFileSync(
    path,
    `#!/bin/sh\n{ pwd; id; echo "n=$#"; for a; do echo "[$a]"; done; env | sort; case "$(grep SigIgn /proc/self/status)" in *[13579bdf]???) echo no SIGPIPE;; esac; echo; cat; } > ${directory}/mail/probe.$$ 2>&1\n`,
  );
  chmodSync(path, 0o755);
};

async function scene(t: Test, setting: Scene, mails: ReadonlyArray<Mail>): Promise<void> {
  if ("missing" in programs) return;
  const twins = await Twins.start(t, programs, {
    ...setting,
    mainCf: (dir, place) => BASE + (setting.mainCf?.(dir, place) ?? ""),
  });
  await twins.compare(t, t.name, mails);
}

const mail = (to: string, more: Partial<Mail> = {}): Mail => ({ name: to, to: [to], ...more });
const BV = { sendmail: ["-bv"], from: "nobody@localhost" };

/** Lists with an owner, one within another, and a chain that comes to an address of another system. */
const OWNED =
  'inline:{ { games = "|/bin/false", nobody@trash.test } { owner-games = news, root } { nobody = nosuchuser } }';
const NESTED =
  'inline:{ { nobody = games, root } { games = far@trash.test, "|/bin/false" } { owner-nobody = news } }';
const CHAIN = "inline:{ { games = nobody } { nobody = news, far@pipex.test } }";
/** Settings of local(8), by the name of a service and its domain. */
const LOCAL: Readonly<Record<string, (dir: string) => ReadonlyArray<string>>> = {
  homemaildir: (dir) => [`home_mailbox=../..${dir}/mail/hm/`],
  homembox: (dir) => [`home_mailbox=../..${dir}/mail/hbox`],
  spoolmaildir: (dir) => [`mail_spool_directory=${dir}/mail/`],
  command: (dir) => [`mailbox_command=${dir}/bin/probe "$USER" $EXTENSION`],
  plaincommand: (dir) => [`mailbox_command=${dir}/bin/probe a b`, "command_execution_directory=$home"],
  commandmaps: (dir) => [
    `mailbox_command_maps=inline:{ { games = ${dir}/bin/probe mapped } }`,
    "mailbox_command=/bin/false",
  ],
  transport: () => ["mailbox_transport=discard:for the box"],
  transportonly: () => ["mailbox_transport=pipex"],
  transportmaps: () => [
    "mailbox_transport_maps=inline:{ { games = error:5.2.2 full } { nosuchuser = discard:mapped } }",
  ],
  fallback: () => ["fallback_transport=error:5.1.1 fell through"],
  fallbackmaps: () => [
    "fallback_transport_maps=inline:{ { nosuchuser = pipex } }",
    "fallback_transport=discard:rest",
  ],
  luser: () => ["luser_relay=games+$user"],
  luserfar: () => ["luser_relay=$local@trash.test"],
  luserdefaults: () => ["luser_relay=${extension?{news}:{games}}@$domain"],
  luserself: () => ["luser_relay=$recipient"],
  lusernobody: () => ["luser_relay=nosuchother"],
  luserodd: () => ["luser_relay=|/bin/false"],
  prepend: () => ["prepend_delivered_header=forward", "enable_original_recipient=no"],
  nodir: (dir) => [`mailbox_command=${dir}/bin/probe`, "command_execution_directory=/no/such/dir"],
  shell: (dir) => [`mailbox_command=echo shell; ${dir}/bin/probe`, "local_command_shell=/bin/sh -c"],
  home: () => ["require_home_directory=yes"],
  privs: (dir) => [
    "default_privs=news",
    `alias_maps=inline:{ { games = ${dir}/mail/owned } { news = "|${dir}/bin/probe" } }`,
    "export_environment=TZ MAIL_CONFIG ADDED=value",
  ],
  undelimited: () => ["recipient_delimiter="],
  delimited: () => ["recipient_delimiter=+-", "owner_request_special=no"],
  restricted: (dir) => [
    `alias_maps=inline:{ { games = ${dir}/mail/owned } { nosuchuser = "|${dir}/bin/probe" } }`,
    "allow_mail_to_files=",
    "allow_mail_to_commands=",
  ],
  ownerplain: () => [`alias_maps=${OWNED}`],
  ownerexpanded: () => [`alias_maps=${OWNED}`, "expand_owner_alias=yes"],
  ownerkept: () => [`alias_maps=${NESTED}`],
  ownerreset: () => [`alias_maps=${NESTED}`, "reset_owner_alias=yes"],
  frozen: () => [`alias_maps=${CHAIN}`],
  unfrozen: () => [`alias_maps=${CHAIN}`, "frozen_delivered_to=no"],
  mailtool: () => ["sun_mailtool_compatibility=yes"],
  filtered: () => ["local_delivery_status_filter=regexp:{{/^2.0.0 (delivered)/ 2.1.5 filtered $1}}"],
};
/** Settings with a table that cannot be opened, which is needed for the second user alone: each has a service of its own. */
const BROKEN = (
  [
    ["alias_maps", "games", "nosuchuser"],
    ["mailbox_command_maps", "nosuchuser", "games"],
    ["fallback_transport_maps", "games", "nosuchuser"],
    ["mailbox_transport_maps", "postmaster", "games"],
  ] as const
).flatMap(([setting, ...users], index) =>
  users.map((user, affected) => ({ setting, user, name: `broken${index}${affected}` })),
);
const USERS = [
  "games",
  "games+ext",
  "nobody",
  "root",
  "nosuchuser",
  "nosuchuser+ext",
  "mailer-daemon",
  "Games",
];

t.test("local(8) with other settings", options, (t) =>
  scene(
    t,
    {
      prepare: probe,
      masterCf: (dir) =>
        Object.entries(LOCAL)
          .map(
            ([name, settings]) =>
              `${name} unix - n n - 1 local\n${settings(dir)
                .map((setting) => `    -o { ${setting.replace("=", " = ")} }\n`)
                .join("")}`,
          )
          .join("") +
        BROKEN.map(
          ({ name, setting }) => `${name} unix - n n - 1 local -o ${setting}=regexp:/no/such/table\n`,
        ).join("") +
        "pipex unix - n n - 1 pipe flags=DORF user=games argv=/bin/sh -c cat>/dev/null;echo/${nexthop}/${user}/${extension}/${recipient}/${original_recipient}\n",
      mainCf: (dir) => `transport_maps = inline:{ { trash.test = discard:thrown away } ${[
        ...Object.keys(LOCAL),
        ...BROKEN.map(({ name }) => name),
      ]
        .map((name) => `{ ${name}.test = ${name}: }`)
        .join(" ")} }
relay_domains =
mail_spool_directory = ${dir}/mail
`,
    },
    [
      ...Object.keys(LOCAL).flatMap((name) =>
        USERS.map((user) => mail(`${user}@${name === "luserself" ? "LuserSelf" : name}.test`)),
      ),
      ...BROKEN.map(({ name, user }) => mail(`${user}@${name}.test`)),
      ...["homemaildir", "homembox", "command", "transport", "fallback"].map((name) =>
        mail(`games@${name}.test`, { ...BV, name: `verify ${name}` }),
      ),
    ],
  ),
);

/** A mailbox that is there already. */
const make = (
  dir: string,
  name: string,
  [uid, gid]: readonly [number, number],
  mode = 0o600,
  text = "",
): string => {
  const path = join(dir, name);
  writeFileSync(path, text);
  chownSync(path, uid, gid);
  chmodSync(path, mode);
  return path;
};

t.test("local: damaged mailboxes", options, (t) =>
  scene(t, { mainCf: () => "deliver_lock_attempts = 1\n" }, [
    mail("games@localhost", {
      name: "a link",
      before: (dir) => symlinkSync(make(dir, "target", [5, 60]), join(dir, "mail/games")),
    }),
    mail("news@localhost", {
      name: "a hard link",
      before: (dir) => linkSync(make(dir, "mail/other", [9, 9]), join(dir, "mail/news")),
    }),
    mail("list@localhost", {
      name: "somebody else's",
      before: (dir) => void make(dir, "mail/list", [9, 9], 0o666),
    }),
    mail("uucp@localhost", { name: "a folder", before: (dir) => mkdirSync(join(dir, "mail/uucp")) }),
    mail("backup@localhost", {
      name: "unwritable",
      before: (dir) => void make(dir, "mail/backup", [34, 34], 0o400),
    }),
    mail("irc@localhost", {
      name: "locked",
      before: (dir) => {
        make(dir, "mail/irc", [39, 39]);
        make(dir, "mail/irc.lock", [0, 0]);
      },
    }),
  ]),
);

t.test("local: mailbox_size_limit", options, (t) =>
  scene(t, { mainCf: () => "mailbox_size_limit = 3000\nmessage_size_limit = 2000\n" }, [
    mail("games@localhost", {
      before: (dir) => void make(dir, "mail/games", [5, 60], 0o600, `${"x".repeat(2900)}\n`),
    }),
    mail("news@localhost"),
  ]),
);

const VIRTUAL = (dir: string): string => `virtual_mailbox_domains = vbox.test
virtual_mailbox_base = ${dir}/mail
virtual_mailbox_maps = inline:{ { you@vbox.test = you } { dir@vbox.test = dir/ } { deep@vbox.test = a/b/c/ } { nodeep@vbox.test = a2/b/c } { evil@vbox.test = ../../evil } { noid@vbox.test = noid } { badid@vbox.test = badid } { lowid@vbox.test = lowid } { rootgid@vbox.test = rootgid } { @all.test = all/ } { link@vbox.test = link } { folder@vbox.test = folder } { fifo@vbox.test = ../../../dev/null } }
virtual_uid_maps = inline:{ { noid2@vbox.test = 5000 } { badid@vbox.test = abc } { lowid@vbox.test = 5 } { rootgid@vbox.test = 5000 } { you@vbox.test = 5000 } { dir@vbox.test = 5000 } { deep@vbox.test = 5000 } { nodeep@vbox.test = 5000 } { evil@vbox.test = 5000 } { link@vbox.test = 5000 } { folder@vbox.test = 5000 } { fifo@vbox.test = 5000 } { @all.test = 5001 } }
virtual_gid_maps = inline:{ { rootgid@vbox.test = 0 } { @vbox.test = 5000 } { @all.test = 5001 } }
virtual_minimum_uid = 100
`;
t.test("virtual", options, (t) =>
  scene(
    t,
    {
      mainCf: (dir) =>
        `${VIRTUAL(dir)}virtual_mailbox_domains = vbox.test, all.test\n`.replace(
          "virtual_mailbox_domains = vbox.test\n",
          "",
        ),
    },
    [
      ...[
        "you",
        "You",
        "you+ext",
        "dir",
        "deep",
        "nodeep",
        "evil",
        "noid",
        "badid",
        "lowid",
        "rootgid",
        "folder",
        "fifo",
        "unknown",
      ].map((user) =>
        mail(
          `${user}@vbox.test`,
          user === "folder" ? { before: (dir) => mkdirSync(join(dir, "mail/folder")) } : {},
        ),
      ),
      mail("anybody@all.test"),
      mail("link@vbox.test", { before: (dir) => symlinkSync("/etc/passwd", join(dir, "mail/link")) }),
      mail("you@vbox.test NOTIFY=SUCCESS", { from: "nobody@localhost" }),
      mail("you@vbox.test", { ...BV, name: "verify you" }),
      mail("dir@vbox.test", { ...BV, name: "verify dir" }),
      mail("you@vbox.test", {
        name: "a loop that is none",
        text: "Delivered-To: you@vbox.test\nSubject: x\n\nFrom me\n>From you\n",
      }),
    ],
  ),
);

const PIPES: Readonly<Record<string, string>> = {
  plain: "user=games argv=DIR/bin/probe $sender $recipient",
  all: "flags=DORFBXqhu>. user=games:news directory=DIR/mail argv=DIR/bin/probe ${sender} ${recipient} ${original_recipient} ${user} ${extension} ${mailbox} ${domain} ${nexthop} ${size} ${queue_id} ${client_address} ${client_helo} ${client_hostname} ${client_protocol} ${envid} ${sasl_method}x a$(user)b $$",
  uucp: "flags=Fqhu user=uucp argv=DIR/bin/probe -r -n -z -a$sender - $nexthop!rmail ($recipient)",
  eol: "flags=FR. user=games eol=\\r\\n argv=DIR/bin/probe x",
  nullsender: "flags=FR user=games null_sender= argv=DIR/bin/probe <${sender}>",
  othersender: "flags=FR user=games null_sender=nobody@here argv=DIR/bin/probe <${sender}>",
  size: "user=games size=300 argv=DIR/bin/probe",
  anysize: "user=games size=0 argv=DIR/bin/probe",
  endings: "flags=F user=games eol=\\x\\q\\101\\1234\\ argv=DIR/bin/probe",
  noname: "user=games argv=DIR/bin/probe $. x",
  noname2: "user=games argv=DIR/bin/probe ${} x",
  noname3: "user=games argv=DIR/bin/probe a$",
  unclosed: "user=games argv=DIR/bin/probe $(recipient} x",
  noargv: "user=games argv=",
  original: "-o enable_original_recipient=no flags=O user=games argv=DIR/bin/probe $original_recipient",
  nullquoted: "flags=FRq user=games null_sender= argv=DIR/bin/probe $sender -f$sender",
  limit: "user=games argv=/bin/sleep 5",
  unknown: "user=games argv=DIR/bin/probe $foo",
  exit: "user=games argv=/bin/sh -c ${nexthop}",
  noquote: "flags=R user=games argv=DIR/bin/probe ${sender} ${recipient} ${user} ${domain}",
  multi: "user=games argv=DIR/bin/probe -f ${sender} -- ${recipient} end",
  none: "user=games argv=/no/such/program",
  nodir: "user=games directory=/no/such/dir argv=DIR/bin/probe",
};
const pipeMail = (service: string, to: string, more: Partial<Mail> = {}): Mail => ({
  name: `${service} ${to}`,
  to: [`${to}@${service}.test`],
  ...more,
});
t.test("pipe", options, (t) =>
  scene(
    t,
    {
      prepare: probe,
      masterCf: (dir) =>
        Object.entries(PIPES)
          .map(([name, args]) => `${name} unix - n n - - pipe ${args.replaceAll("DIR", dir)}\n`)
          .join(""),
      mainCf: () =>
        `transport_maps = inline:{ ${Object.keys(PIPES)
          .map((name) => `{ ${name}.test = ${name}:${name === "plain" ? "" : "Next.Hop"} }`)
          .join(" ")} ${[
          ["e64", "exit 64"],
          ["e67", "echo who; exit 67"],
          ["e75", "exit 75"],
          ["e99", "exit 99"],
          ["dsn5", "echo 5.1.6 gone away; exit 1"],
          ["dsn4", "echo 4.2.2 full; exit 67"],
          ["dsn2", "echo 2.0.0 fine; exit 1"],
          ["sig", "kill -9 $$$$"],
          ["out", "cat >/dev/null; echo hello; echo you"],
          ["long", "cat >/dev/null; seq 1 60000 || exit 9"],
          ["err", "cat >/dev/null; echo problem >&2"],
          ["early", "exit 0"],
        ]
          .map(([name, command]) => `{ ${name}@exit.test = exit:${command} }`)
          .join(" ")} }
all_destination_recipient_limit = 1
limit_time_limit = 1s
relay_domains =
`,
    },
    [
      ...Object.keys(PIPES)
        .filter((name) => name !== "exit" && name !== "limit")
        .flatMap((name) => [pipeMail(name, "User"), pipeMail(name, "User+Ext"), pipeMail(name, '"odd one"')]),
      ...["e64", "e67", "e75", "e99", "dsn5", "dsn4", "dsn2", "sig", "out", "long", "err", "early"].map(
        (user) => pipeMail("exit", user, { from: "nobody@localhost" }),
      ),
      pipeMail("all", "x", { from: "", name: "null sender" }),
      pipeMail("nullsender", "x", { from: "", name: "null sender, empty" }),
      pipeMail("nullquoted", "x", { from: "", name: "null sender, empty, quoted" }),
      pipeMail("limit", "x", { from: "nobody@localhost", name: "time limit" }),
      pipeMail("othersender", "x", { from: "", name: "null sender, another" }),
      pipeMail("plain", "x", { from: '"quoted sender"@X.test', name: "quoted sender" }),
      pipeMail("all", "x", {
        from: '"quoted sender"@X.test',
        name: "quoted sender, quoted",
        parameters: "ENVID=e+2B1",
      }),
      { name: "many", to: ["a@multi.test", "b@multi.test", "c+d@multi.test"] },
      { name: "many one by one", to: ["a@all.test", "b@all.test"], before: () => undefined },
      pipeMail("all", "x", { name: "loop", text: "Delivered-To: x@all.test\n\nb\n" }),
      pipeMail("all", "mbox", { name: "lines", text: "Subject: x\n\nFrom me\n.\n>From\n.x\n" }),
      pipeMail("uucp", "x", {
        name: "no end of line",
        from: "nobody@localhost",
        sendmail: [],
        text: "Subject: x\n\nno end",
      }),
      pipeMail("plain", "x", { ...BV, name: "verify" }),
      pipeMail("all", "x", { name: "success", from: "nobody@localhost", to: ["x@all.test NOTIFY=SUCCESS"] }),
      pipeMail("plain", "x", {
        name: "success relayed",
        from: "nobody@localhost",
        to: ["x@plain.test NOTIFY=SUCCESS"],
      }),
    ],
  ),
);

/** Stands for a word in the encoding of 1990, which a file of configuration may hold but our text may not. */
const WORD = "caf\xe9";
t.test("commands: words, directories and variables that are no UTF-8", options, async (t) => {
  if ("missing" in programs) return;
  const filter = "command_expansion_filter = abcdefghijklmnopqrstuvwxyz0123456789+.@_WORD";
  const twins = await Twins.start(t, programs, {
    prepare: (dir) => {
      probe(dir);
      mkdirSync(Buffer.from(`${dir}/${WORD}`, "latin1"));
    },
    masterCf: (dir) =>
      `words unix - n n - - pipe flags=DORF user=games directory=${dir}/WORD argv=${dir}/bin/probe \${recipient} \${original_recipient} \${user} \${extension} \${nexthop} \${sender} WORD
nodir unix - n n - - pipe user=games directory=${dir}/noWORD argv=${dir}/bin/probe
noprogram unix - n n - - pipe user=games argv=${dir}/bin/noWORD
box unix - n n - 1 local -o { ${filter} } -o { mailbox_command = ${dir}/bin/probe WORD $EXTENSION $RECIPIENT }
  -o { command_execution_directory = ${dir}/WORD }
shell unix - n n - 1 local -o { ${filter} } -o { mailbox_command = ${dir}/bin/probe "WORD" '$EXTENSION'; echo "$LATIN"; exit 67 }
fails unix - n n - 1 local -o { command_execution_directory = ${dir}/noWORD } -o { mailbox_command = ${dir}/bin/probe }
alias unix - n n - 1 local -o { ${filter} } -o { alias_maps = inline:{ { games = "|${dir}/bin/probe WORD" } } }
`,
    ignore: /: reload -- version/,
    mainCf: () => `${BASE}relay_domains =
smtputf8_enable = no
export_environment = TZ MAIL_CONFIG LATIN=WORD
transport_maps = inline:{ ${["words", "nodir", "noprogram", "box", "shell", "fails", "alias"]
      .map((name) => `{ ${name}.test = ${name}: }`)
      .join(" ")} }
`,
  });
  for (const instance of twins.both) {
    for (const name of ["main.cf", "master.cf"]) {
      const path = join(instance.config, name);
      writeFileSync(path, readFileSync(path, "latin1").replaceAll("WORD", WORD), "latin1");
    }
    instance.must("postfix", ["reload"]);
  }
  await twins.compare(
    t,
    t.name,
    ["words", "nodir", "noprogram", "box", "shell", "fails", "alias"].flatMap((name) => [
      mail(`games+${WORD}@${name}.test`, {
        from: `${WORD}@sender.test`,
        text: `Subject: ${WORD}\n\n${WORD}\xff\n`,
      }),
      mail(`games+caf\xc3\xa9@${name}.test`, { from: "nobody@localhost" }),
    ]),
  );
});
