/** Entries of the list of known faults whose right answer is that of the real Postfix: tables that make no sense, hostile addresses and identities. */
import { chmodSync, chownSync, linkSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { command } from "../support/mixed.ts";
import { reference } from "../support/reference.ts";
import { type Mail, type Scene, Twins } from "../support/twins.ts";

const programs = reference();
const options = "missing" in programs ? { skip: programs.missing } : {};
t.setTimeout(300_000);
const limit = { ...options, timeout: 60_000 };

const file = (
  directory: string,
  name: string,
  text: string,
  owner?: readonly [number, number],
  mode = 0o644,
): void => {
  const path = join(directory, name);
  writeFileSync(path, text.replaceAll("DIR", directory), "latin1");
  chmodSync(path, mode);
  if (owner !== undefined) chownSync(path, ...owner);
};
const probe = (directory: string): void => {
  mkdirSync(join(directory, "bin"));
  file(
    directory,
    "bin/probe",
    '#!/bin/sh\n{ pwd; id; echo "n=$#"; for a; do echo "[$a]"; done; env | sort; echo; cat; } > DIR/mail/probe.$$ 2>&1\n',
    undefined,
    0o755,
  );
};

async function scene(t: Test, setting: Scene, mails: ReadonlyArray<Mail>): Promise<void> {
  if (
    "missing" in programs ||
    (process.env.ONLY !== undefined &&
      !mails.some(({ name }) => new RegExp(process.env.ONLY ?? "").test(name)))
  )
    return;
  await (await Twins.start(t, programs, setting)).compare(t, t.name, mails);
}
const mail = (to: string, more: Partial<Mail> = {}): Mail => ({ name: to, to: [to], ...more });

/** Results that are no answer, by the name of a key. */
const RESULTS: Readonly<Record<string, string>> = {
  comma: ",",
  comment: "()",
  null: "<>",
  quote: '"',
  at: "@",
  atdomain: "@elsewhere.test",
  colon: ":",
  group: "g:;",
  minus: "-f@localhost",
  long: `${"x".repeat(3000)}@localhost`,
  high: "\xff\xfe@localhost",
  nbsp: "\xc2\xa0games@localhost",
  control: "a\tb@localhost",
  slash: "/etc/passwd",
  bar: "|/bin/true",
  quoted: '"a b"@localhost',
  phrase: "Some One <games@localhost>",
  two: "games@localhost, news@localhost",
};
const TABLES = [
  "canonical",
  "sendercanonical",
  "virtual",
  "rbcc",
  "sbcc",
  "relocated",
  "transport",
  "sdrelay",
  "sdtransport",
] as const;

t.test("CLN-09 answers of tables that make no sense", limit, (t) =>
  scene(
    t,
    {
      prepare: (dir) => {
        for (const table of TABLES)
          file(
            dir,
            table,
            `${Object.entries(RESULTS)
              .map(([name, result]) => `${name}@${table}.test ${result}\n`)
              .join("")}ok@${table}.test games@localhost\n`,
          );
        file(dir, "regexp", "/^(.*)@regexp.test$/ $1\n/^(empty)?.*@blank.test$/ $1\n");
      },
      mainCf: (dir) => `canonical_maps = texthash:${dir}/canonical
canonical_classes = envelope_recipient, header_recipient
sender_canonical_maps = texthash:${dir}/sendercanonical
virtual_alias_maps = texthash:${dir}/virtual regexp:${dir}/regexp
recipient_bcc_maps = texthash:${dir}/rbcc
sender_bcc_maps = texthash:${dir}/sbcc
relocated_maps = texthash:${dir}/relocated
transport_maps = texthash:${dir}/transport
sender_dependent_relayhost_maps = texthash:${dir}/sdrelay
sender_dependent_default_transport_maps = texthash:${dir}/sdtransport
local_recipient_maps =
`,
    },
    [
      ...["canonical", "virtual", "rbcc", "relocated", "transport"].flatMap((table) =>
        Object.keys(RESULTS)
          // a real qmgr does not survive a transport's name of this length, and both resolvers are asked again and again for an empty one
          .filter((name) => table !== "transport" || name !== "long")
          .map((name) => mail(`${name}@${table}.test`)),
      ),
      ...["sendercanonical", "sbcc", "sdrelay", "sdtransport"].flatMap((table) =>
        Object.keys(RESULTS)
          .filter((name) => table !== "sdtransport" || !["long", "colon"].includes(name))
          .map((name) =>
            mail(table.startsWith("sd") ? "x@far.test" : "games@localhost", {
              name: `${name} ${table}`,
              from: `${name}@${table}.test`,
            }),
          ),
      ),
      mail("games@regexp.test"),
      mail("x@blank.test"),
    ],
  ),
);

t.test("CLN-03 alias expansion that never ends", limit, (t) =>
  scene(
    t,
    {
      prepare: (dir) => {
        const chain = Array.from(
          { length: 1100 },
          (_, index) => `c${index}@chain.test c${index + 1}@chain.test\n`,
        ).join("");
        const wide = `wide@chain.test ${Array.from({ length: 1100 }, (_, index) => `w${index}@trash.test`).join(", ")}\n`;
        file(
          dir,
          "virtual",
          `ring1@ring.test ring2@ring.test\nring2@ring.test ring1@ring.test\nself@ring.test self@ring.test\n${chain}${wide}`,
        );
        file(
          dir,
          "pcre",
          "/^(.+)@grow.test$/ ${1}x@grow.test\n/^(.+)@double.test$/ ${1}${1}@double.test\n/^(.+)@tree.test$/ ${1}0@tree.test, ${1}1@tree.test\n",
        );
      },
      mainCf: (dir) => `virtual_alias_maps = texthash:${dir}/virtual pcre:${dir}/pcre
virtual_alias_domains = ring.test, grow.test, double.test, tree.test, chain.test
transport_maps = inline:{ { trash.test = discard:thrown away } }
`,
    },
    [
      "ring1@ring.test",
      "self@ring.test",
      "a@grow.test",
      "a@double.test",
      "f@tree.test",
      "c0@chain.test",
      "c200@chain.test",
      "wide@chain.test",
    ].map((to) => mail(to)),
  ),
);

t.test("CLN-07 what ends the header block", options, async (t) => {
  for (const action of ["reject"])
    await t.test(action, (t) =>
      scene(
        t,
        {
          mainCf: () =>
            `non_empty_end_of_header_action = ${action}\nheader_checks = regexp:{{/^X-Late/ WARN seen}}\n`,
        },
        [
          "X Y: z",
          ":x",
          "X:",
          " X: y",
          "X :y",
          "gr\xc3\xbc: x",
          "From x",
          ">From x",
          `${"n".repeat(5000)}: x`,
          "no header",
          "--",
          "\x01: x",
          "X\t: y",
          "X: y\r",
          "a\0b",
          "\0b: c",
          "X: a\0b",
        ].flatMap((line, index) => [
          mail("games@localhost", {
            name: `first ${index}`,
            text: `${line}\nX-Late: yes\n\nbody ${index}\n`,
          }),
          mail("games@localhost", {
            name: `later ${index}`,
            text: `Subject: x ${index}\n${line}\nX-Late: yes\n\nbody\n`,
          }),
        ]),
      ),
    );
});

const deep = (levels: number): string =>
  `Content-Type: multipart/mixed; boundary=b0\n\n${Array.from({ length: levels }, (_, index) => `--b${index}\nContent-Type: multipart/mixed; boundary=b${index + 1}\nX-Deep: ${index}\n\n`).join("")}end\n`;
const forwarded = (levels: number): string =>
  `Content-Type: message/rfc822\n\n${"Content-Type: message/rfc822\nX-Deep: x\n\n".repeat(levels)}end\n`;
t.test("CLN-08 CLN-10 MIME structure, and actions that are checked for form", limit, (t) =>
  scene(
    t,
    {
      mainCf: () =>
        `header_checks = regexp:{{/^X-A:/ PREPEND a: b} {/^X-B:/ REPLACE } {/^X-C:/ BCC} {/^X-D:/ REDIRECT } {/^X-E:/ FILTER smtp:} {/^X-F:/ REJECT 2.1.0 x} {/^X-H:/ reject 5.7.1x y} {/^X-I:/ REJECT 5.7.1} {/^X-J:/ WARN} {/^X-K:/ bcc news@localhost, list@localhost} {/^X-L:/ redirect <news@localhost>} {/^X-M:/ filter discard:a b}}\n` +
        "mime_header_checks = regexp:{{/^X-Deep: (99|10.)$$/ WARN deep}}\nnested_header_checks = regexp:{{/^X-Deep: x/ WARN deep}}\nstrict_mime_encoding_domain = yes\n",
    },
    [
      ...[98, 99, 100, 101, 102, 103].map((levels) =>
        mail("games@localhost", { name: `multipart ${levels}`, text: deep(levels) }),
      ),
      ...[5, 120].map((levels) =>
        mail("games@localhost", { name: `rfc822 ${levels}`, text: forwarded(levels) }),
      ),
      ...[
        "x".repeat(70),
        "x".repeat(2048),
        "x".repeat(2100),
        '"unclosed',
        'x; boundary="y"',
        "(comment) x",
        '"a\\"b"',
      ].map((boundary, index) =>
        mail("games@localhost", {
          name: `boundary ${index}`,
          text: `Content-Type: multipart/mixed; boundary=${boundary}\n\n--${boundary}\nX-Deep: 99\n\n--x\nX-Deep: 99\n\n--y--\n--\nX-Deep: 99\n\n`,
        }),
      ),
      // text before, within and after; what a part's lines are shows in its header checks
      ...['""', '"" ; x=y', '"" ; boundary=z', 'z; boundary=""', "", ";", '" "', '"\\"', "()"].map(
        (boundary, index) =>
          mail("games@localhost", {
            name: `empty boundary ${index}`,
            text: `Content-Type: multipart/mixed; boundary=${boundary}\n\nX-Deep: 100\n--\nX-Deep: 101\n\n--x\nX-Deep: 102\n\n--z\nX-Deep: 103\n\n----\nX-Deep: 104\n\n--\nX-Deep: 105\n\n-- \nX-Deep: 106\n`,
          }),
      ),
      mail("games@localhost", {
        name: "wrong encoding",
        text: "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nX: y\n",
      }),
      mail("games@localhost", {
        name: "wrong multipart encoding",
        text: "Content-Type: multipart/mixed; boundary=x\nContent-Transfer-Encoding: quoted-printable\n\n--x\n\nb\n",
      }),
      ...Array.from("ABCDEFHIJKLM", (letter) =>
        mail("games@localhost", {
          name: `action ${letter}`,
          text: `X-${letter}: x\nSubject: ${letter}\n\nbody\n`,
        }),
      ),
    ],
  ),
);

t.test("DLV-07 DLV-15 addresses that are code", limit, (t) =>
  scene(
    t,
    {
      prepare: probe,
      mainCf: (dir) => `mailbox_command = ${dir}/bin/probe
recipient_delimiter = +
local_recipient_maps =
alias_maps = inline:{ { box = ${dir}/mail/box } }
transport_maps = inline:{ { pipe.test = code: } }
`,
      masterCf: (dir) =>
        `code unix - n n - 1 pipe flags=DRF user=games argv=${dir}/bin/probe \${sender} \${recipient} \${user} \${extension}\n`,
    },
    [
      "$(id)",
      "`id`",
      ";id",
      "|id",
      "&",
      "${run{x}}",
      "$user",
      "${home}",
      "() { :;}; id",
      "--",
      "-oX",
      "../../x",
      "a'b",
      'a\\"b',
      "<x>",
      "#",
      "\x7f",
      "\x01",
      "\xc3\xa9",
      "x".repeat(200),
    ].flatMap((text, index): Mail[] => {
      const quoted = `"${text.replace(/^["\\]/g, "\\$&")}"`;
      return [
        { name: `extension ${index}`, to: [`"games+${text}"@localhost`], from: "nobody@localhost" },
        { name: `sender ${index}`, to: ["games@localhost"], from: `${quoted}@x.test` },
        { name: `sender to a file ${index}`, to: ["box@localhost"], from: `${quoted}@x.test` },
        { name: `pipe ${index}`, to: [`"u+${text}"@pipe.test`], from: `${quoted}@x.test` },
      ];
    }),
  ),
);

const IDS = [
  "0",
  "-1",
  "4294967295",
  "4294967296",
  "18446744073709551616",
  "1000x",
  " 1000",
  "1e3",
  "0x3e8",
  "99",
  "100",
  "010000",
  "\xc2\xb2000",
];
const PATHS = ["../x", "a/../../etc/x", "a/..", "/etc/x", "a//b", "./x", "..", ".", "-x", "x".repeat(300)];
t.test("DLV-10 the database says who the user is", limit, (t) =>
  scene(
    t,
    {
      prepare: (dir) => {
        file(
          dir,
          "boxes",
          [
            ...IDS.flatMap((_, index) => [`u${index}@ids.test u${index}`, `g${index}@ids.test g${index}`]),
            ...PATHS.map((path, index) => `p${index}@ids.test ${path}`),
          ]
            .join("\n")
            .concat("\n"),
        );
        file(
          dir,
          "uids",
          `${IDS.map((id, index) => `u${index}@ids.test ${id}`).join("\n")}\n@ids.test 5000\n`,
        );
        file(
          dir,
          "gids",
          `${IDS.map((id, index) => `g${index}@ids.test ${id}`).join("\n")}\n@ids.test 5000\n`,
        );
      },
      mainCf: (dir) => `virtual_mailbox_domains = ids.test
virtual_mailbox_base = ${dir}/mail
virtual_mailbox_maps = texthash:${dir}/boxes
virtual_uid_maps = texthash:${dir}/uids
virtual_gid_maps = texthash:${dir}/gids
virtual_minimum_uid = 100
`,
    },
    [
      ...IDS.flatMap((_, index) => [mail(`u${index}@ids.test`), mail(`g${index}@ids.test`)]),
      ...PATHS.map((_, index) => mail(`p${index}@ids.test`)),
    ],
  ),
);

t.test("DLV-11 substitution in trusted tables", limit, (t) => {
  const table = "regexp:$config_directory/sub";
  const services = {
    alias: [`alias_maps=${table}`],
    mbtransport: [`mailbox_transport_maps=${table}`],
    mbcommand: ["mailbox_command_maps=regexp:$config_directory/cmd"],
    fallback: [`fallback_transport_maps=${table}`],
    boxes: [`virtual_mailbox_maps=${table}`],
    uids: ["virtual_mailbox_maps=inline:{ {xsub@sub.test=x} }", `virtual_uid_maps=${table}`],
    gids: ["virtual_mailbox_maps=inline:{ {xsub@sub.test=x} }", `virtual_gid_maps=${table}`],
    pipemap: ["alias_maps=pipemap:{inline:{xsub=xsub},regexp:$config_directory/sub}"],
    union: ["alias_maps=unionmap:{inline:{xsub=games},regexp:$config_directory/sub}"],
    plainregexp: ["alias_maps=regexp:{{/^xsub/ games}}"],
    proxied: ["alias_maps=proxy:inline:{ {xsub=games} }"],
  };
  return scene(
    t,
    {
      prepare: (dir) => {
        file(dir, "config/sub", "/^(.*)sub/ $1\n");
        file(dir, "config/cmd", "/^(.*)$/ echo $1; exit 75\n");
      },
      masterCf: () =>
        Object.entries(services)
          .map(
            ([name, settings]) =>
              `${name} unix - n n - 1 ${["boxes", "uids", "gids"].includes(name) ? "virtual" : "local"}\n${settings.map((setting) => `    -o { ${setting.replace("=", " = ")} }\n`).join("")}`,
          )
          .join(""),
      mainCf: (dir) => `transport_maps = inline:{ ${Object.keys(services)
        .map((name) => `{ ${name}.test = ${name}: } { xsub@sub.test = ${name}: }`)
        .slice(0, 1)
        .join(" ")} ${Object.keys(services)
        .map((name) => `{ ${name}.test = ${name}: }`)
        .slice(1)
        .join(" ")} }
virtual_mailbox_base = ${dir}/mail
virtual_uid_maps = static:5000
virtual_gid_maps = static:5000
local_recipient_maps =
proxy_read_maps = inline:{ {xsub=games} }
`,
    },
    [...Object.keys(services).map((name) => mail(`xsub@${name}.test`)), mail("games@mbcommand.test")],
  );
});

t.test("DLV-12 whose privileges", limit, (t) =>
  scene(
    t,
    {
      prepare: (dir) => {
        const owners = { root: [0, 0], news: [9, 9], nameless: [54321, 54321], owner: [1, 1] } as const;
        for (const [name, owner] of Object.entries(owners))
          file(
            dir,
            `a.${name}`,
            `c${name} "|id > DIR/mail/probe.$$"\nf${name} DIR/mail/f${name}\ni${name} :include:DIR/inc.news\nm${name} games\n`,
            owner,
          );
        file(dir, "inc.news", '"|id > DIR/mail/probe.$$"\n', [9, 9]);
      },
      mainCf: (
        dir,
      ) => `alias_maps = texthash:${dir}/a.root texthash:${dir}/a.news texthash:${dir}/a.nameless texthash:${dir}/a.owner pipemap:{texthash:${dir}/a.root,inline:{ {games=news} }}
allow_mail_to_commands = alias, forward, include
local_recipient_maps =
`,
    },
    ["root", "news", "nameless", "owner"].flatMap((name) =>
      ["c", "f", "i", "m"].map((kind) => mail(`${kind}${name}@localhost`)),
    ),
  ),
);

t.test("DLV-02 DLV-03 DLV-04 DLV-20 mailboxes that are traps", limit, (t) =>
  scene(
    t,
    {
      mainCf: (dir) => `deliver_lock_attempts = 1
alias_maps = inline:{ { exec = ${dir}/mail/exec } { null = /dev/null } { fifo = ${dir}/mail/dir } { proc = /proc/self/status } { full = /dev/full } { dev = /dev/zero } }
virtual_mailbox_domains = trap.test
virtual_mailbox_base = ${dir}/mail
virtual_mailbox_maps = inline:{ {link@trap.test=vlink} {hard@trap.test=vhard} {other@trap.test=vother} {dir@trap.test=dir} {md@trap.test=md/} }
virtual_uid_maps = static:5000
virtual_gid_maps = static:5000
local_recipient_maps =
`,
      prepare: (dir) => {
        file(dir, "secret", "root's\n", [0, 0], 0o600);
        symlinkSync(join(dir, "secret"), join(dir, "rootlink"));
      },
    },
    [
      mail("games@localhost", {
        name: "hard link to root's symbolic link",
        before: (dir) => linkSync(join(dir, "rootlink"), join(dir, "mail/games")),
      }),
      mail("news@localhost", {
        name: "root's symbolic link in a folder for everybody",
        before: (dir) => symlinkSync(join(dir, "secret"), join(dir, "mail/news")),
      }),
      mail("list@localhost", {
        name: "made by an attacker",
        before: (dir) => file(dir, "mail/list", "", [13, 13], 0o666),
      }),
      mail("uucp@localhost", {
        name: "lock is a symbolic link",
        before: (dir) => symlinkSync(join(dir, "secret"), join(dir, "mail/uucp.lock")),
      }),
      mail("exec@localhost", {
        before: (dir) => file(dir, "mail/exec", "#!/bin/sh\n", [65534, 65534], 0o711),
      }),
      mail("null@localhost"),
      mail("full@localhost"),
      mail("proc@localhost"),
      mail("fifo@localhost", { name: "a folder", before: (dir) => mkdirSync(join(dir, "mail/dir")) }),
      mail("dir@trap.test"),
      mail("link@trap.test", { before: (dir) => symlinkSync(join(dir, "secret"), join(dir, "mail/vlink")) }),
      mail("hard@trap.test", {
        before: (dir) => {
          file(dir, "mail/vhard", "", [5000, 5000]);
          linkSync(join(dir, "mail/vhard"), join(dir, "mail/vhard2"));
        },
      }),
      mail("other@trap.test", { before: (dir) => file(dir, "mail/vother", "", [13, 13], 0o666) }),
      mail("md@trap.test", {
        name: "a Maildir that is a link",
        before: (dir) => symlinkSync(dir, join(dir, "mail/md")),
      }),
    ],
  ),
);

t.test("DLV-14 DLV-16 DLV-17 loops, and expansions to several", limit, (t) =>
  scene(
    t,
    {
      mainCf: () =>
        "recipient_delimiter = +\nlocal_recipient_maps =\nalias_maps = inline:{ { list = games } { owner-list = news } { twice = games+a, games+b } { two = one1, one2 } { one1 = games } { one2 = games } { five = games, news, broken, list, uucp } { broken = nosuchuser, games } }\n",
    },
    [
      mail("games@localhost", { name: "other case", text: "Delivered-To:   GAMES@LocalHost\n\nb\n" }),
      mail("games@localhost", {
        name: "among many",
        text: `${Array.from({ length: 900 }, (_, index) => `Delivered-To: u${index}@x.test\n`).join("")}Delivered-To: games@localhost\n\nb\n`,
      }),
      mail("games@localhost", {
        name: "after too many",
        text: `${Array.from({ length: 1500 }, (_, index) => `Delivered-To: u${index}@x.test\n`).join("")}Delivered-To: games@localhost\n\nb\n`,
      }),
      mail("games@localhost", { name: "in the body", text: "Subject: x\n\nDelivered-To: games@localhost\n" }),
      mail("list@localhost", { name: "of a list", text: "Delivered-To: list@localhost\n\nb\n" }),
      mail("games@localhost", { name: "in brackets", text: "Delivered-To: <games@localhost>\n\nb\n" }),
      ...["twice@localhost", "two@localhost", "five@localhost"].map((to) => mail(to)),
    ],
  ),
);

t.test("QMG-15 bounce templates", limit, async (t) => {
  const cases: Readonly<Record<string, string>> = {
    "one line": "failure_template = x\n",
    "blank lines around the header": "failure_template = <<EOF\n\n\nSubject: x\n\n\nTo: y\n\nB\n\nEOF\n",
    "not a header": "failure_template = <<EOF\nSubject: x\nA\n\nB\nEOF\n",
    "a blank before the colon": "failure_template = <<EOF\nSubject : x\n\nB\nEOF\n",
    "no name": "\n# comment\nbad line\n",
    "unknown template": "nosuch_template = <<EOF\nx\nEOF\n\n\n",
    nothing: "failure_template =\n",
    "no end marker": "failure_template = <<EOF\nSubject: x\n\ntext\n",
    "unknown name": "failure_template = <<EOF\nSubject: x\n\n$nosuchname text\nEOF\n",
    "8 bit": "failure_template = <<EOF\nSubject: x\n\ngr\xc3\xbc\xc3\x9fe\nEOF\n",
    "8 bit with charset":
      "failure_template = <<EOF\nCharset: utf-8\nSubject: x\n\ngr\xc3\xbc\xc3\x9fe ${delay_warning_time_hours} ${maximal_queue_lifetime_days}\nEOF\n",
    "8-bit subject": "failure_template = <<EOF\nCharset: utf-8\nSubject: gr\xc3\xbc\n\nx\nEOF\n",
    "empty header": "failure_template = <<EOF\nSubject:\n\nx\nEOF\n",
    "unknown header": "failure_template = <<EOF\nX-Foo: bar\n\nx\nEOF\n",
    "postmaster subject where there is none": "success_template = <<EOF\nPostmaster-Subject: bar\n\nx\nEOF\n",
    "no body": "failure_template = <<EOF\nSubject: x\nEOF\n",
    conditional:
      "failure_template = <<EOF\nSubject: x\n\n${mydomain?{a}:{b}} ${nosuch:none} $(myhostname)\nEOF\n",
    "long line": `failure_template = <<EOF\nSubject: x\n\n${"y".repeat(100_000)}\nEOF\n`,
    "empty file": "",
    folded: "failure_template = <<EOF\nSubject: x\n  y\nFrom: Some One <some@one.test>\n\ntext\nEOF\n",
  };
  if ("missing" in programs) return;
  const twins = await Twins.start(t, programs, {
    prepare: (dir) => {
      for (const [index, text] of Object.values(cases).entries()) file(dir, `template${index}`, text);
    },
  });
  for (const [index, name] of Object.keys(cases).entries()) {
    const [ours, real] = twins.both.map((instance) => {
      const { stderr, stdout, status } = command(
        instance,
        "postconf",
        ["-b", `template${index}`].map((each, at) => (at === 0 ? each : join(instance.directory, each))),
      );
      // what is built in differs by design, and Postfix repeats its warnings for each template
      const own = /^expanded_failure_text = <<EOF\n.*?^EOF\n/ms.exec(stdout)?.[0] ?? "";
      const warnings = new Set(
        stderr
          .replaceAll(instance.directory, "$DIR")
          .split("\n")
          .map((line) => line.replace(/^postfix\//, "")),
      );
      const builtIn = /ignoring|fatal/.test(stderr) || name === "empty file";
      return { status, warnings: [...warnings], own: builtIn ? "" : own };
    });
    t.same(ours, real, name);
  }
});
