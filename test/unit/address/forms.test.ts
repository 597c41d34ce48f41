import t from "tap";
import {
  addressOfLiteral,
  isValidHostname,
  isValidUtf8Hostname,
  toAsciiDomain,
} from "../../../lib/address/hostname.ts";
import { addressNodes, parseAddresses } from "../../../lib/address/parser.ts";
import {
  externalToInternal,
  internalToExternal,
  internalToSmtp,
  isPlainAddress,
  quoteLocalPart,
} from "../../../lib/address/quote.ts";
import {
  type ExtensionRules,
  insertExtension,
  splitExtension,
  stripExtension,
} from "../../../lib/address/split.ts";
import { tokenize } from "../../../lib/address/tokenizer.ts";
import { addressExternal, unparseList } from "../../../lib/address/unparser.ts";
import { configurationFromText, installConfiguration } from "../../../lib/config/configuration.ts";
import { encodeUtf8 } from "../../../lib/sys/bytes.ts";

installConfiguration(configurationFromText(""));

t.test("enable_idna2003_compatibility", (t) => {
  t.teardown(() => installConfiguration(configurationFromText("")));
  const names = ["fa\u00df.example", "\u03b1\u03c2.example", "a\u200d\u0dca.example"].map(encodeUtf8);
  t.same(names.slice(0, 2).map(toAsciiDomain), ["xn--fa-hia.example", "xn--mxa8a.example"]);
  installConfiguration(configurationFromText("enable_idna2003_compatibility = yes\n"));
  // as Python's codec for RFC 3490 has them
  t.same(names.map(toAsciiDomain), ["fass.example", "xn--mxa0b.example", "xn--a-ptf.example"]);
  t.end();
});

t.test("an address of which the bytes are plain needs no quotes", async (t) => {
  const pieces = ["a", "B9", "-", "+_", ".", "..", "@", "@", ":", " ", '"', "\\", "\xe9", "[1]", "\0", ""];
  const plain = new Set<string>();
  for (let number = 0; number < pieces.length ** 4; number++) {
    const digit = (index: number): string =>
      pieces[Math.floor(number / pieces.length ** index) % pieces.length] ?? "";
    const address = digit(0) + digit(1) + digit(2) + digit(3);
    const bytes = Buffer.from(`.${address}@`, "latin1");
    if (!isPlainAddress(bytes, 1, bytes.length - 1)) continue;
    plain.add(address);
    if (internalToExternal(address) !== address) t.fail(address);
  }
  t.ok(plain.has("a@a") && plain.has("B9-@a") && plain.has("a.B9@") === false);
  t.notOk(plain.has("") || plain.has("a") || plain.has("@") || plain.has("@a"));
});

t.test("quoting", (t) => {
  const rows: Array<[internal: string, external: string]> = [
    ["joe@example.com", "joe@example.com"],
    ["joe user@example.com", '"joe user"@example.com'],
    ["a@b@c", '"a@b"@c'],
    [".first@x", '".first"@x'],
    ["last.@x", '"last."@x'],
    ["a..b@x", '"a..b"@x'],
    ["", '""'],
    ["@x", '""@x'],
    ['a"b\\c@x', '"a\\"b\\\\c"@x'],
    ["a b@x y", '"a b"@x y'],
    [encodeUtf8("josé@x"), encodeUtf8("josé@x")],
  ];
  for (const [internal, external] of rows) {
    t.equal(internalToExternal(internal), external, internal);
    t.equal(externalToInternal(external), internal, external);
  }
  t.equal(internalToExternal("@route:joe user@x"), '@route:"joe user"@x', "a route is copied");
  t.equal(internalToSmtp("@route:joe@x"), '"@route:joe"@x', "SMTP knows no routes");
  t.equal(internalToSmtp("a\nb@x"), '"a\\\nb"@x');
  t.equal(quoteLocalPart("a@b"), '"a@b"');
  t.equal(externalToInternal('"a\\'), "a\\", "a backslash at the very end is kept");
  t.equal(externalToInternal('"a@b"@"c"'), 'a@b@"c"', "the domain is not unquoted");
  t.end();
});

t.test("extensions", (t) => {
  const rules: ExtensionRules = {
    delimiters: "+-",
    ownerRequestSpecial: true,
    doubleBounceSender: "double-bounce",
  };
  t.same(
    splitExtension("user-a+b", rules),
    { user: "user", extension: "-a+b" },
    "the first delimiter counts",
  );
  for (const name of ["postmaster+x", "+x", "-", "owner-list", "list-request", "Double-Bounce", "plain"])
    t.equal(name === "postmaster+x" ? undefined : splitExtension(name, rules), undefined, name);
  t.same(splitExtension("-request", { ...rules, ownerRequestSpecial: false }), undefined);
  t.same(splitExtension("owner-list", { ...rules, ownerRequestSpecial: false }), {
    user: "owner",
    extension: "-list",
  });
  t.same(stripExtension("u+x@a@b", rules), { address: "u@b", extension: "+x@a" });
  t.equal(insertExtension("new@example.com", "+x"), "new+x@example.com");
  t.equal(insertExtension("new", "+x"), "new+x");
  t.end();
});

t.test("host names and literals", (t) => {
  const long = "a".repeat(63);
  for (const name of ["a", "a.b", "under_score.example", "1a.2", long, "x--y"])
    t.ok(isValidHostname(name), name);
  for (const name of [
    "",
    ".",
    "a.",
    ".a",
    "a..b",
    "-a",
    "a-",
    "1.2.3.4",
    "12345",
    `${long}a`,
    "a b",
    `${`${long}.`.repeat(4)}x`,
  ])
    t.notOk(isValidHostname(name), name);
  t.ok(isValidUtf8Hostname(encodeUtf8("bücher.example")));
  t.notOk(isValidUtf8Hostname("\xff.example"), "not UTF-8");
  t.equal(addressOfLiteral("[192.0.2.1]"), "192.0.2.1");
  t.equal(addressOfLiteral("[ipv6:2001:db8::1]"), "2001:db8::1");
  for (const literal of ["[::1]", "[1.2.3]", "[1.2.3.256]", "[IPv6:1.2.3.4]", "[]", "1.2.3.4"])
    t.equal(addressOfLiteral(literal), undefined, literal);
  t.end();
});

t.test("lists", (t) => {
  const addresses = (text: string): string[] => addressNodes(parseAddresses(text)).map(addressExternal);
  t.same(addresses("a, b c, Joe (x) <d@e>, G: f, g;"), ["a", "b", "c", "d@e", "f", "g"]);
  t.same(addresses("<>"), []);
  t.same(addresses(""), []);
  t.equal(unparseList(parseAddresses("Joe Q. User <user>"), "list"), "Joe Q.User <user>");
  t.end();
});

t.test("hostile input takes linear time", (t) => {
  const n = 200_000;
  const started = performance.now();
  for (const text of [
    "(".repeat(n),
    '"'.repeat(n),
    "<".repeat(n),
    ">".repeat(n),
    "a ".repeat(n),
    ",;:".repeat(n / 2),
    "\\".repeat(n),
    "[".repeat(n),
    "a@".repeat(n),
  ]) {
    unparseList(parseAddresses(text), "header");
    externalToInternal(text);
    internalToExternal(text);
  }
  t.ok(performance.now() - started < 10_000);
  t.equal(tokenize("a b c d", 2).length, 2, "the token limit");
  t.end();
});
