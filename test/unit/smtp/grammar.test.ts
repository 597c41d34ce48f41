import t from "tap";
import { parseBdat, parseParameter, parseSize, tokenize } from "../../../lib/smtp/command.ts";
import {
  isStatus,
  parseEnvid,
  parseNotify,
  parseOrcpt,
  parseRet,
  splitStatus,
} from "../../../lib/smtp/dsn.ts";
import { neuter } from "../../../lib/smtp/helo.ts";
import { parsePath } from "../../../lib/smtp/path.ts";
import { appendFooter, isRejectReply, renderReply, replyCode } from "../../../lib/smtp/reply.ts";
import { decodeUtf8Xtext, decodeXtext, encodeXtext } from "../../../lib/smtp/xtext.ts";

const words = (line: string): string[] => tokenize(line).map((token) => token.text);

t.test("tokens", async (t) => {
  t.same(words("MAIL FROM:<a@b>"), ["MAIL", "FROM:", "<a@b>"]);
  t.same(words("mail from: <a@b> SIZE=1"), ["mail", "from:", "<a@b>", "SIZE=1"]);
  t.same(words("RCPT TO:a"), ["RCPT", "TO:", "a"]);
  t.same(words("MAIL FROM:"), ["MAIL", "FROM:"]);
  t.same(words("MAIL FROM"), ["MAIL", "FROM"]);
  t.same(words('MAIL FROM:<"a b"@c d> X'), ["MAIL", "FROM:", '<"a b"@c d>', "X"]);
  t.same(words('MAIL FROM:"a \\" b"@c X'), ["MAIL", "FROM:", '"a \\" b"@c', "X"]);
  t.same(words("MAIL FROM:Joe <a@b> (c)"), ["MAIL", "FROM:", "Joe", "<a@b>", "(c)"]);
  t.same(words("FOO to:x from:y"), ["FOO", "to:", "x", "from:y"]);
  t.same(words("  \t "), []);
  t.equal(tokenize("MAIL FROM:<a@b X")[2]?.unbalanced, true);
  t.equal(tokenize('MAIL FROM:<"a>')[2]?.unbalanced, true);
  t.equal(tokenize("MAIL FROM:<a\\>")[2]?.unbalanced, true);
  t.equal(tokenize("MAIL FROM:<a@b>")[2]?.unbalanced, false);
});

t.test("parameters and numbers", async (t) => {
  t.same(parseParameter("size=5"), { word: "size=5", name: "SIZE", value: "5" });
  t.same(parseParameter("SMTPUTF8"), { word: "SMTPUTF8", name: "SMTPUTF8", value: undefined });
  t.same(parseSize("0000000000000000000000000000000000000001"), { kind: "size", size: 1 });
  t.equal(parseSize("99999999999999999999").kind, "overflow");
  t.equal(parseSize("9223372036854775808").kind, "overflow");
  for (const bad of ["", "-1", "+5", "0x10", "1e9", "5abc", "5.0", "\xef\xbc\x91"])
    t.equal(parseSize(bad).kind, "syntax");
  for (const bad of [
    "BDAT",
    "BDAT x",
    "BDAT -1",
    "BDAT 5 LA\xc5\xbfT",
    "BDAT 18446744073709551616",
    "BDAT 1 LAST x",
  ])
    t.equal(parseBdat(tokenize(bad)), undefined, bad);
  t.same(parseBdat(tokenize("BDAT 05 last")), { size: 5, last: true });
  t.same(parseBdat(tokenize("BDAT 4294967301")), { size: 4294967301, last: false });
});

t.test("paths", async (t) => {
  const lenient = { strict: false, allowEmpty: true };
  const strict = { strict: true, allowEmpty: true };
  const parse = (text: string): string | undefined => parsePath(text, lenient);
  t.equal(parse("<a@good.test>"), "a@good.test");
  t.equal(parse("a@good.test"), "a@good.test");
  t.equal(parse('<"a b"@good.test>'), "a b@good.test");
  t.equal(parse("<@x,@y:a@good.test>"), "a@good.test");
  t.equal(parse("<a@b@c>"), "a@b@c");
  t.equal(parse("<>"), "");
  t.equal(parse("<@b>"), "@b");
  t.equal(parse("<a..b@good.test>"), "a..b@good.test");
  t.equal(parse("<a@[1.2.3.4]>"), "a@[1.2.3.4]");
  t.equal(parse('<"x@elsewhere.test"@mail.example.com>'), "x@elsewhere.test@mail.example.com");
  t.equal(parse("<a@good.test><b@good.test>"), undefined);
  t.equal(parse("<a@b c@d>"), undefined);
  t.equal(parsePath("<>", { strict: false, allowEmpty: false }), undefined);
  t.equal(parsePath("a@good.test", strict), undefined);
  t.equal(parsePath("Joe", strict), undefined);
  t.equal(parsePath("<@x:a@good.test>", strict), "a@good.test");
  t.equal(parsePath("<(c) a@good.test>", strict), undefined);
});

t.test("enhanced status codes", async (t) => {
  t.same(splitStatus("5.7.2", "5.7.1"), { status: "5.7.2", text: "" });
  t.same(splitStatus("5.7.2 x y", "5.7.1"), { status: "5.7.2", text: "x y" });
  for (const text of ["5.7.", "9.9.9 x", "5.7.2x", "5.1234.1 x", "x", "5", "5.", "5.7"])
    t.same(splitStatus(text, "5.7.1"), { status: "5.7.1", text });
  t.ok(isStatus("4.123.456"));
  t.notOk(isStatus("4.1.1 x"));
});

t.test("DSN parameters", async (t) => {
  t.equal(parseNotify("NEVER"), 1);
  t.equal(parseNotify("success,FAILURE,Delay"), 14);
  t.equal(parseNotify(",SUCCESS,SUCCESS,"), 2, "as the reference has it");
  for (const bad of ["", ",", "NEVER,FAILURE", "FOO"]) t.equal(parseNotify(bad), undefined, bad);
  t.equal(parseRet("full"), 1);
  t.equal(parseRet("HDRS"), 2);
  t.equal(parseRet("x"), undefined);
  t.equal(parseEnvid("abc+2B"), "abc+");
  t.equal(parseEnvid("a+09b"), "a\tb");
  for (const bad of ["a+zz", "a+00b", "a+0Ab", "a+", "a+E9"]) t.equal(parseEnvid(bad), undefined, bad);
  t.equal(parseOrcpt("rfc822;a+40b"), "rfc822;a@b");
  t.equal(parseOrcpt("rfc822;u+0AX"), "rfc822;u\nX");
  t.equal(parseOrcpt("utf-8;a\\x{40}b"), "utf-8;a@b");
  for (const bad of [
    "rfc822",
    ";x",
    "rfc822;a+zz",
    "rfc822;a+00b",
    "utf-8;\\x{D800}",
    "utf-8;\\x{110000}",
    "utf-8;\\x{}",
  ])
    t.equal(parseOrcpt(bad), undefined, bad);
});

t.test("xtext", async (t) => {
  t.equal(encodeXtext("a+b=c d\xe9~"), "a+2Bb+3Dc+20d+E9~");
  for (let i = 0; i < 256; i++)
    t.equal(decodeXtext(encodeXtext(String.fromCharCode(i))), String.fromCharCode(i));
  t.equal(decodeUtf8Xtext("\\x{E9}"), "\xc3\xa9");
  t.equal(decodeUtf8Xtext("a\\xE9\\"), "a\\xE9\\");
});

t.test("replies", async (t) => {
  t.equal(renderReply("250 2.0.0 Ok"), "250 2.0.0 Ok\r\n");
  t.equal(renderReply("550-5.7.1 a\r\n550 5.7.1 b", true), "450-4.7.1 a\r\n450 4.7.1 b\r\n");
  t.equal(renderReply("550 x\n550 y"), "550-x\r\n550 y\r\n");
  t.equal(
    renderReply("500 5.5.2 Error: command not recognized", true),
    "400 4.5.2 Error: command not recognized\r\n",
  );
  t.ok(isRejectReply("450 4.1.1 try later"));
  t.ok(isRejectReply("550 gone"));
  t.notOk(isRejectReply("250 ok"));
  t.notOk(isRejectReply("550 4.1.1 x"));
  t.notOk(isRejectReply("600 x"));
  t.equal(replyCode("250-x"), 250);
  t.equal(replyCode("25x"), 0);
  t.equal(appendFooter("550 5.1.1 no", "contact"), "550 5.1.1 no\r\n550 5.1.1 contact");
  t.equal(appendFooter("550 5.1.1 no", "\\c; see\\nmore"), "550 5.1.1 no; see\r\n550 5.1.1 more");
  t.equal(appendFooter("550 no", "x"), "550 no\r\n550 x");
});

t.test("neutered names", async (t) => {
  t.equal(neuter('we"ird<name>@x;(y)\\z \x01'), "we?ird?name??x??y??z??");
});
