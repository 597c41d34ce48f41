/**
 * Faults that JavaScript invites whose right answer is that of the real Postfix: names of the language, numbers that are none, letters and blanks
 * beyond ASCII, patterns. The ids are those of docs/security.md.
 */
import { execFile } from "node:child_process";
import { mkdirSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { Random } from "../fuzz/random.ts";
import { reference } from "./support/reference.ts";
import { converse, Twins } from "./support/twins.ts";

const programs = reference();
t.setTimeout(180_000);

const NAMES =
  `__proto__ constructor prototype toString valueOf hasOwnProperty __defineGetter__ then length size`.split(
    " ",
  );
const NUMBERS = [
  ...[
    "",
    "+5",
    "-0",
    "-5",
    "5.",
    ".5",
    "5e3",
    "0x1f",
    "0b1",
    "0o7",
    "010",
    "1_000",
    "1,000",
    "Infinity",
    "NaN",
    "null",
  ],
  ...["\uff15", "\u0665", "5\0", "5\u00a0", "5x", "2147483647", "2147483648", "4294967295", "4294967296"],
  ...[
    "9007199254740991",
    "9007199254740992",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
  ],
  ...["18446744073709551616", "99999999999999999999", "1e400", "0".repeat(30), `${"0".repeat(30)}7`],
].map((text) => Buffer.from(text, "utf8").toString("latin1"));
/** Arguments are Unicode for Node. */
const unicode = (text: string): string => Buffer.from(text, "latin1").toString("utf8");
const utf8 = (text: string): string => Buffer.from(text, "utf8").toString("latin1");
const BLANKS = ["\u00a0", "\ufeff", "\u2028", "\u2029", "\u3000", "\u0085", "\v", "\f"].map(utf8);
const upper = (text: string): string => text.toUpperCase();

const masked = (text: string, directory: string): string =>
  text.replaceAll(directory, "DIR").replace(/\b[0-9A-F]{9,14}\b/g, "QID");

t.test("beside a real Postfix", "missing" in programs ? { skip: programs.missing } : {}, async (t) => {
  if ("missing" in programs) return;
  const twins = await Twins.start(t, programs, {
    mainCf: () => `smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 1000
smtpd_hard_error_limit = 1000
smtpd_junk_command_limit = 1000
smtpd_authorized_xclient_hosts = 127.0.0.1
smtpd_authorized_xforward_hosts = 127.0.0.1
smtpd_recipient_restrictions = reject_unauth_destination
smtpd_relay_restrictions =
smtputf8_enable = yes
message_size_limit = 10000000000
virtual_alias_domains = kelvin.example, ix.example, strasse.example, \u00e9t\u00e9.example
mydestination = localhost
queue_minfree = 0
`,
  });

  /** The same lines to both servers, and the same replies. */
  const dialogue = async (t: Test, lines: ReadonlyArray<string>): Promise<void> => {
    const [ours = [], real = []] = await Promise.all(
      twins.both.map(async (instance) =>
        (await converse(instance.smtpPort, ["EHLO client.test", ...lines])).map((reply) =>
          masked(reply, instance.directory),
        ),
      ),
    );
    t.same(
      lines.flatMap((line, i) => (ours[i] === real[i] ? [] : [[line, ours[i], real[i]]])),
      [],
    );
  };
  /** The same command with both. */
  const run = async (t: Test, name: string, args: ReadonlyArray<string>, input = ""): Promise<string> => {
    const [ours, real] = await Promise.all(
      twins.both.map(
        (instance) =>
          new Promise<string>((resolve) => {
            const child = execFile(
              join(instance.directory, "programs/sbin", name),
              args.map((arg) => unicode(arg.replaceAll("DIR", instance.directory))),
              { env: instance.environment, encoding: "latin1", timeout: 20_000 },
              (error, stdout, stderr) =>
                resolve(masked(`status ${error?.code ?? 0}\n${stdout}${stderr}`, instance.directory)),
            );
            child.stdin?.on("error", () => undefined).end(Buffer.from(input, "latin1"));
          }),
      ),
    );
    t.equal(ours, real, `${name} ${args.join(" ").slice(0, 200)}`);
    return ours ?? "";
  };

  await t.test("JS-01 JS-02 names of the language as words of the protocol", (t) =>
    dialogue(t, [
      ...NAMES.map(upper),
      ...NAMES.flatMap((name) => [
        `MAIL FROM:<a@b.test> ${name}=x`,
        `MAIL FROM:<a@b.test> ${name}`,
        `MAIL FROM:<a@b.test> RET=${name}`,
        `MAIL FROM:<a@b.test> BODY=${name}`,
        `XCLIENT ${name}=x`,
        `XFORWARD ${name}=x`,
        `ETRN ${name}`,
        `HELP ${name}`,
      ]),
      "MAIL FROM:<a@b.test>",
      ...NAMES.flatMap((name) => [
        `RCPT TO:<a@localhost> ${name}=x`,
        `RCPT TO:<a@localhost> NOTIFY=${name}`,
        `RCPT TO:<a@localhost> ORCPT=${name};x`,
        `RCPT TO:<${name}@localhost>`,
      ]),
      "RSET",
    ]),
  );

  await t.test("JS-12 JS-13 numbers that are none, or too large", async (t) => {
    await dialogue(
      t,
      NUMBERS.flatMap((number) => [`MAIL FROM:<a@b.test> SIZE=${number}`, "RSET"]),
    );
    const sizes = NUMBERS.filter((number) => !/^\d+\0?$/.test(number));
    for (const number of sizes) await dialogue(t, ["MAIL FROM:<a@b.test>", `BDAT ${number} LAST`]);
    await dialogue(
      t,
      NUMBERS.filter((number) => /^[\0-\x7f]*$/.test(number)).map((number) => `XFORWARD PORT=${number}`),
    );
  });

  await t.test("JS-12 JS-13 numbers in main.cf", async (t) => {
    const settings = [...NUMBERS.filter((number) => /^[\x01-\x7f]*$/.test(number)), " 5", "5 ", "10k", "$x"];
    const one = async (number: string, index: number): Promise<void> => {
      for (const instance of twins.both) {
        const folder = join(instance.directory, `numbers${index}`);
        mkdirSync(folder);
        writeFileSync(
          join(folder, "main.cf"),
          `compatibility_level = 3.11\ninet_protocols = ipv4\nmail_owner = daemon\nsetgid_group = mail\nshlib_directory = no\ndeliver_lock_attempts = ${number}\n`,
          "latin1",
        );
        utimesSync(join(folder, "main.cf"), 1e9, 1e9);
      }
      await run(t, "postmap", ["-c", `DIR/numbers${index}`, "-q", "a", "inline:{a=1}"]);
    };
    await Promise.all(settings.map(one));
  });

  await t.test("JS-15 case beyond ASCII", async (t) => {
    await dialogue(t, [
      utf8("R\u017fET"),
      utf8("NOOP \u212a"),
      "MAIL FROM:<a@b.test> SMTPUTF8",
      ...[
        "\u212aelvin.example",
        "kelvin.example",
        "KELVIN.example",
        "\u0130x.example",
        "stra\u00dfe.example",
        "\u00c9T\u00c9.example",
        "\u00e9t\u00e9.example",
      ].map((domain) => utf8(`RCPT TO:<u@${domain}>`)),
    ]);
    const keys = [
      "\u212aelvin",
      "KELVIN",
      "\u0130x",
      "STRASSE",
      "stra\u00dfe",
      "\u00c9",
      "\u017f",
      "S",
      "\u03a3\u03c2",
    ];
    for (const key of keys)
      await run(t, "postmap", [
        "-q",
        utf8(key),
        utf8("inline:{ kelvin=1, ix=2, strasse=3, \u00e9=4, s=5, \u03c3\u03c3=6 }"),
      ]);
  });

  await t.test("JS-16 blanks beyond ASCII", async (t) => {
    await dialogue(t, [
      ...BLANKS.flatMap((blank) => [
        `MAIL${blank}FROM:<a@b.test>`,
        `RSET${blank}`,
        `MAIL FROM:<a@b.test>${blank}SIZE=1`,
        `MAIL FROM:${blank}<a@b.test>`,
        "RSET",
        `MAIL FROM:<${blank}a@b.test> SMTPUTF8`,
        "RSET",
      ]),
    ]);
    for (const blank of BLANKS.filter((blank) => blank.length > 1)) {
      await run(t, "postmap", ["-q", `${blank}a`, `inline:{ {${blank}a = 1} {a = 2${blank}} }`]);
      await run(t, "postmap", ["-q", "a", `inline:{ {${blank}a = 1} {a = 2${blank}} }`]);
    }
  });

  await t.test("JS-10 limits count bytes", async (t) => {
    await dialogue(
      t,
      ["\u00e9".repeat(1000), "\u{1f60a}".repeat(500)].flatMap((text) => [
        utf8(`NOOP ${text}`),
        utf8(`VRFY <${text}@localhost>`),
      ]),
    );
    // Postfix before 3.12 cuts the command and goes on
    for (const text of ["\u00e9".repeat(1030), "\u{1f60a}".repeat(515)])
      t.match(await converse(twins.ours.smtpPort, ["EHLO client.test", utf8(`NOOP ${text}`)]), [
        /^500 5\.5\.2 \S+ Error: command too long/,
      ]);
  });

  await t.test("JS-03 JS-01 keys of tables", async (t) => {
    for (const instance of twins.both)
      writeFileSync(
        join(instance.directory, "order"),
        [...NAMES, "2", "10", "1", "b", "a"].map((key) => `${key} value of ${key}\n`).join(""),
      );
    await run(t, "postmap", ["cdb:DIR/order"]);
    await run(t, "postmap", ["-s", "cdb:DIR/order"]);
    for (const key of [...NAMES, "2"]) {
      await run(t, "postmap", ["-q", key, "cdb:DIR/order"]);
      await run(t, "postmap", ["-q", key, "inline:{ x=1 }"]);
      await run(t, "postmap", ["-q", key, `inline:{ ${key}=7 }`]);
    }
  });

  await t.test("JS-06 what five hundred made patterns mean", async (t) => {
    const random = new Random(6);
    const atoms = [
      ..."a b c x 1 . [ab] [^a] [a-c1] [[:digit:]] [[:alpha:]] [[:space:]] \\. ^ $ ^a b$ a* b+ c? (a) (ab|a) (|b) (a|b)* (b+) a{2} b{1,2} .* .+ \\w \\W \\b".split(
        " ",
      ),
    ];
    const perl = [
      ..."(?:b) (?=b) (?!b) (?<=a) a+? a*? a++ (?>a+) \\d \\D \\s \\A \\z \\Qa.\\E (?i)B (?<n>a) \\x61".split(
        " ",
      ),
    ];
    const subjects = [
      ...[
        "",
        "a",
        "b",
        "ab",
        "aab",
        "abc",
        "abcabc",
        "aaaa",
        "bbb",
        "1",
        "a1b2",
        "a b",
        "a.b",
        "x",
        "ABC",
        "cab",
        "\xe9",
        "a\xe9b",
      ],
      ...Array.from({ length: 30 }, () =>
        Array.from({ length: 1 + random.below(8) }, () => random.pick([..."abcx1 ."])).join(""),
      ),
    ];
    for (const type of ["regexp", "pcre"]) {
      const made = type === "pcre" ? [...atoms, ...perl] : atoms;
      const patterns = Array.from({ length: 250 }, () => {
        const pattern = Array.from({ length: 1 + random.below(4) }, () => random.pick(made)).join("");
        return `/${pattern}/${random.pick(["", "", "", "i", "m"])}`;
      });
      for (const instance of twins.both)
        for (const [index, pattern] of patterns.entries())
          writeFileSync(
            join(instance.directory, `${type}${index}`),
            `${pattern} ${index}:${/\((?!\?)/.test(pattern) ? "$1" : ""};\n`,
            "latin1",
          );
      // every table that matches adds its own
      const all = patterns.map((_, index) => `${type}:DIR/${type}${index}`).join(", ");
      const said = await run(
        t,
        "postmap",
        ["-q", "-", `unionmap:{${all}}`],
        subjects.map((subject) => `${subject}\n`).join(""),
      );
      t.ok(said.split(";").length > 1000, `${said.split(";").length} matches`);
    }
  });

  await t.test("JS-06 what patterns mean", async (t) => {
    const subjects = [
      "a",
      "ab",
      "abc",
      "aab",
      "A",
      "1",
      "a b",
      "a.b",
      "\xe9",
      utf8("\u212a"),
      utf8("\u017f"),
      "foo bar",
      "x\\y",
      "aaaa!",
    ];
    const patterns =
      String.raw`/a|ab/ <$0> /(a|ab)(c|bcd)?/ $1,$2 /^[[:alpha:]]+$/ alpha /[[:<:]]b/ word /\<b/ word /\bb/ b /a\Z/ Z /a$/ end /\d/ digit /^\w+$/ word /k/ k /s/ s /(?i)A/ i /a++b/ possessive /(?>a+)b/ atomic /\Qa.b\E/ quoted /a\Kb/ K /(a)\1/ back /|x/ empty /(|x)/ empty /A/i i /a b/x x /^b/m m /(?<n>a)b/ $1 /(a)/ $$$\{1}x /a{2}/ two /a{,2}b/ upto /[^a]/ not /\x61/ hex /a.c/ dot /[a-]/ dash /[]a]/ bracket /\// slash !/a/ neither /\(a\)/ paren /a\{2\}/ bre /(a/ open /a)/ close /[a/ open /*/ star /a**/ stars /\p{L}/ letter /\xe9/ byte /./ any /^.$/ one`
        .split(/ (?=!?\/)/)
        .map((line) => line.replace("\\{", "{"));
    for (const [index, pattern] of patterns.entries())
      for (const type of ["regexp", "pcre"]) {
        // these depend on the release of libpcre2: open intervals since 10.43, offsets of errors
        if (type === "pcre" && /^\/(?:a\{,2\}b|a\)|\*|a\*\*)\/ /.test(pattern)) continue;
        for (const instance of twins.both)
          writeFileSync(
            join(instance.directory, `pattern${index}`),
            `${pattern.replace("/ ", "/\t")}\n`,
            "latin1",
          );
        await run(
          t,
          "postmap",
          ["-q", "-", `${type}:DIR/pattern${index}`],
          subjects.map((subject) => `${subject}\n`).join(""),
        );
      }
  });
});
