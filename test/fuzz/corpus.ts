/**
 * Inputs that crashed or misled other mail systems (the F numbers of the list of known faults), by the fuzzer that is to take them: each must end in
 * a defined result within its time limit. Also good material for mutations. F7 and F9 are in the tests IPC-11 and QMG-15; F4, F8 and F13 wait for
 * Milters and SASL; F22 is about files that nothing here reads.
 */

const bytes = (text: string): Buffer => Buffer.from(text, "latin1");
const many = (text: string, count: number): string => text.repeat(count);
const session = (...lines: string[]): string =>
  `EHLO a.test\r\n${lines.map((line) => `${line}\r\n`).join("")}QUIT\r\n`;
const mail = (...lines: string[]): string =>
  session("MAIL FROM:<a@example.org>", "RCPT TO:<root@localhost>", ...lines);

/** A DNS reply with one answer of this type and data. */
function answer(type: number, data: string, length = data.length): string {
  const word = (value: number): string => String.fromCharCode((value >> 8) & 255, value & 255);
  const header = `\0\x01\x81\x80${word(1)}${word(1)}${word(0)}${word(0)}`;
  return `${header}\x01a\0${word(type)}\0\x01\xc0\x0c${word(type)}\0\x01\0\0\0\x3c${word(length)}${data}`;
}
const TYPES = { A: 1, MX: 15, TXT: 16, AAAA: 28, SRV: 33, TLSA: 52 } as const;

const record = (type: string, length: string, data = ""): string => type + length + data;
const pointer = (offset: string): string => record("p", "\x0f", offset.padStart(15));

export const CORPUS: Readonly<Record<string, ReadonlyArray<readonly [fault: string, input: string]>>> = {
  dns: [
    ...Object.values(TYPES).flatMap((type) =>
      ["", "\0", "\0\x0a", "\0\x0a\xc0", "\x03\x01\x01", "12345"].map(
        (data) => ["F1", answer(type, data)] as const,
      ),
    ),
    ["F1", answer(TYPES.MX, "\0\x0a\xc0\x1e")],
    ["F1", answer(TYPES.MX, `\0\x0a${many(`\x3f${many("a", 63)}`, 6)}\0`)],
    ["F1", answer(TYPES.TXT, "\xffshort")],
    ["F1", answer(TYPES.TLSA, "\x03\x01\x01", 65535)],
    ["F1", `\0\x01\x81\x80\0\x01\xff\xff\0\0\0\0\xc0\x0c\0\x0f\0\x01${many("\xc0\x0c", 20_000)}`],
  ],
  smtp_client: [
    ...["5.7.2", "5.7.", "5.", "2.0.0x", "5.999.999", "5.1000.1", "4.1.1 "].flatMap((status) => [
      ["F2", `250 ${status}`] as const,
      ["F2", `550 ${status}\r\n`] as const,
    ]),
    ...[
      "25",
      "250",
      "2500",
      "\0",
      "250 a\r\n550-b\r\n250 c\r\n",
      "250-a\r\n550 b\r\n",
      "250 a\rb\r\n",
      "250\0x\r\n",
    ].map((reply) => ["F3", reply] as const),
    ["F3", many("250-x\r\n", 8000)],
  ],
  records: [
    ["F5", record("N", "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01")],
    ["F5", record("\0", "\x01", "x")],
    ["F5", record("N", "\xff\xff\xff\xff\x0f")],
    ["F5", record("N", "\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "x")],
    ...Array.from(
      { length: 12 },
      (_, end) => ["F5", record("N", "\x0a", "0123456789").slice(0, end)] as const,
    ),
    ...["0", "17", "-1", "999999999999999", "3", "abc", "9007199254740993"].map(
      (offset) => ["F6", record("N", "\x01", "x") + pointer(offset) + record("E", "\0")] as const,
    ),
    ["F16", record("S", "\xff\xff\xff\xff\x0f", "a@b")],
  ],
  mime: [
    ["F10", `From: ${many("x", 60_000)}\n\nbody\n`],
    [
      "F11",
      `Content-Type: multipart/mixed; boundary=a\n\n${many("--a\nContent-Type: multipart/mixed; boundary=a\n\n", 1000)}`,
    ],
    [
      "F11",
      "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=ab\n\n--ab\n\nx\n--a--\n--ab--\n",
    ],
    [
      "F11",
      `Content-Type: text/plain${Array.from({ length: 2000 }, (_, n) => `; name*${n}*=%41`).join("")}\n\n`,
    ],
    ["F11", "Subject: =?utf-8?q?a\n\n"],
    ["F11", 'Content-Type: multipart/mixed; boundary="\n\n--\n'],
  ],
  addresses: [
    ["F10", many("<>", 2000)],
    ["F10", many("(", 4000)],
    ["F10", `"${many("a", 4000)}`],
    ["F10", many("\\", 4000)],
    ["F10", `${many("@a,", 1000)}:u@x`],
    ["F10", `${many("g:", 1500)};`],
    ["F10", "\xff\xfe <\xe9@\x80>"],
    ...["[::ffff:1.2.3.4]", "[IPv6:", "[1.2.3.4.5]", "[0x7f.1]", `[${many(":", 50)}]`].map(
      (domain) => ["F20", `u@${domain}`] as const,
    ),
    ["F15", '""@localhost'],
  ],
  smtp_server: [
    ["F12", `EHLO ${many("a", 12_000)}\r\nQUIT\r\n`],
    ...[
      "2147483647",
      "2147483648",
      "4294967295",
      "4294967296",
      "9223372036854775807",
      "9223372036854775808",
    ].flatMap((size) => [
      ["F14", mail(`BDAT ${size} LAST`, "x")] as const,
      ["F14", mail(`BDAT ${size}`, "x")] as const,
    ]),
    ["F14", session("BDAT 3 LAST", "abc")],
    ["F14", mail(many("BDAT 0\r\n", 50))],
    ["F15", `NOOP${many("\r\n", 10_000)}QUIT\r\n`],
    ["F15", session("NOOP <", "NOOP \0", 'MAIL FROM:<""@localhost>', 'RCPT TO:<""@localhost>')],
    ["F19", `PROXY TCP4 1.2.3.4\r\n${session()}`],
    ["F19", `\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff1.2.3${session()}`],
    [
      "F19",
      session("XCLIENT ADDR=IPV6:fe80::1%eth0", "XCLIENT ADDR=UNKNOWN PORT=99999", "XFORWARD ADDR=[IPV6:"),
    ],
    ...["[::ffff:1.2.3.4]", "[IPv6:", "[1.2.3.4.5]", "[0x7f.1]", `[${many(":", 50)}]`].map(
      (domain) =>
        ["F20", session(`HELO ${domain}`, `MAIL FROM:<u@${domain}>`, `RCPT TO:<u@${domain}>`)] as const,
    ),
  ],
  main_cf: [
    ...["${", "$", "${a?{", "%", "%*.*s", "$(", "${${a}}", many("${a:", 2000), `$${many("{", 5000)}`].map(
      (value) => ["F17", `relayhost = ${value}\n`] as const,
    ),
    ...["3.x", "", "0", "-1", "99999999999999999999"].map(
      (version) =>
        [
          "F21",
          `compatibility_level = ${version}\nrelayhost = \${{$compatibility_level} <level {3.6} ? {a} : {b}}\n`,
        ] as const,
    ),
  ],
  table_replies: [
    ...[
      "0:",
      "999999999:",
      "-1:",
      "00005:",
      "5abc:",
      "5:OK xx",
      "3:OK ,",
      "5:FOO x,",
      "12:OK a\0b\nc\rd e,",
    ].map((reply) => ["F18", reply] as const),
    ...[
      "VALUE key 0 99999999999\r\n",
      "VALUE key 0 5\r\nhel",
      "VALUE other 0 1\r\nx\r\nEND\r\n",
      "VALUE\r\n",
      "END",
    ].map((reply) => ["F18", reply] as const),
  ],
  table_settings: [
    ...["%", "%9", "%%%", "${", "'%s", "(&(", "(mail=%s", "%*.*s"].map(
      (query) =>
        [
          "F17",
          `hosts = localhost\nquery = ${query}\nquery_filter = ${query}\nserver_host = ldap://h\nsearch_base = x\n`,
        ] as const,
    ),
  ],
  index_files: [
    ["F18", many("\xff", 9000)],
    ["F18", many("\x01", 9000)],
    ["F18", "\x62\x31\x05\x00"],
  ],
};

/** The inputs for a fuzzer. */
export const corpus = (name: string): ReadonlyArray<readonly [label: string, input: Buffer]> =>
  (CORPUS[name] ?? []).map(([fault, input], index) => [`${fault} ${index}`, bytes(input)]);
