import t from "tap";
import { HAPROXY_HEADER_LIMIT, parseHaproxy } from "../../../lib/smtp/haproxy.ts";

const BOTH = { ipv4: true, ipv6: true };
const SIGNATURE = "\r\n\r\n\0\r\nQUIT\n";
const parse = (text: string, families = BOTH) => parseHaproxy(Buffer.from(text, "latin1"), families);
const two = (command: number, family: number, data: string, length = data.length): string =>
  `${SIGNATURE}${String.fromCharCode(command, family, length >> 8, length & 255)}${data}`;
const connection = {
  clientAddress: "192.0.2.10",
  serverAddress: "192.0.2.1",
  clientPort: "1111",
  serverPort: "25",
};

t.test("SMTPD-31 what a header says", async (t) => {
  const one = "PROXY TCP4 192.0.2.10 192.0.2.1 1111 25\r\n";
  t.same(parse(one), { kind: "proxied", length: one.length, connection });
  t.same(parse(`${one}EHLO x\r\n`), { kind: "proxied", length: one.length, connection });
  const data = "\xc0\x00\x02\x0a\xc0\x00\x02\x01\x04\x57\x00\x19";
  t.same(parse(two(0x21, 0x11, data)), { kind: "proxied", length: 28, connection });
  t.same(parse(`${two(0x21, 0x11, `${data}\x03\0\x01x`)}EHLO`), { kind: "proxied", length: 32, connection });
  t.same(parse(two(0x20, 0, "")), { kind: "local", length: 16 });
  const six = `${"\0".repeat(15)}\x01${"\0".repeat(15)}\x02\x04\x57\x00\x19`;
  t.same(parse(two(0x21, 0x21, six)), {
    kind: "proxied",
    length: 52,
    connection: { ...connection, clientAddress: "::1", serverAddress: "::2" },
  });
  t.match(parse("PROXY TCP6 ::1 ::2 1111 25\r\n"), { kind: "proxied" });
});

t.test("SMTPD-31 what is refused", async (t) => {
  const refused: ReadonlyArray<readonly [string, string]> = [
    ["", "short protocol header"],
    ["EHLO x\r\n", "short protocol header"],
    [SIGNATURE, "short protocol header"],
    ["EHLO client.example.com\r\n", "unrecognized protocol header"],
    ["PROXY TCP4 192.0.2.10 192.0.2.1 1111 25", "missing protocol header terminator"],
    [`PROXY TCP4 ${"x".repeat(600)}\r\n`, "missing protocol header terminator"],
    ["PROXY UNKNOWN\r\n", "bad or missing protocol type"],
    ["PROXY TCP4 192.0.2 192.0.2.1 1111 25\r\n", "bad or missing client address"],
    ["PROXY TCP4 fe80::1%eth0 192.0.2.1 1111 25\r\n", "bad or missing client address"],
    ["PROXY TCP6 fe80::1%eth0 ::1 1111 25\r\n", "bad or missing client address"],
    ["PROXY TCP4 192.0.2.10 \r\n", "bad or missing server address"],
    ["PROXY TCP4 192.0.2.10 192.0.2.1 -1 25\r\n", "bad or missing client port"],
    ["PROXY TCP4 192.0.2.10 192.0.2.1 1111 65536\r\n", "bad or missing server port"],
    [two(0x31, 0x11, "123456789012"), "bad command in proxy header"],
    [two(0x21, 0x11, "123456789012", 13), "short version 2 protocol header"],
    [two(0x21, 0x11, "", 65535), "short version 2 protocol header"],
    [two(0x21, 0x11, "12345678901"), "short address field"],
    [two(0x21, 0x21, "123456789012"), "short address field"],
    [two(0x21, 0x31, "x".repeat(216)), "unsupported network protocol"],
    [two(0x21, 0x00, ""), "unsupported network protocol"],
  ];
  for (const [text, problem] of refused) t.same(parse(text), { kind: "bad", problem }, JSON.stringify(text));
  const only4 = { ipv4: true, ipv6: false };
  t.same(parse("PROXY TCP6 ::1 ::2 1111 25\r\n", only4), {
    kind: "bad",
    problem: "bad or missing protocol type",
  });
  t.same(parse(two(0x21, 0x21, "x".repeat(36)), only4), {
    kind: "bad",
    problem: "Postfix IPv6 support is disabled",
  });
});

t.test("F19 every piece of a header, and every changed byte, is taken or refused", async (t) => {
  const headers = [
    "PROXY TCP4 192.0.2.10 192.0.2.1 1111 25\r\nEHLO x\r\n",
    two(0x21, 0x11, "\xc0\x00\x02\x0a\xc0\x00\x02\x01\x04\x57\x00\x19"),
    two(0x21, 0x21, "x".repeat(40)),
  ];
  for (const header of headers)
    for (let at = 0; at < header.length; at++) {
      const cut = parse(header.slice(0, at));
      if (cut.kind !== "bad") t.ok(cut.length <= at);
      for (const byte of ["\0", "\xff", "\n", " ", "9"]) {
        const changed = parse(header.slice(0, at) + byte + header.slice(at + 1));
        if (changed.kind !== "bad") t.ok(changed.length <= Math.min(header.length, HAPROXY_HEADER_LIMIT));
      }
    }
});
