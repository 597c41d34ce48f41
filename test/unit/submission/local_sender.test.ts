import t from "tap";
import { patternsIn } from "../../../lib/submission/local_sender.ts";

t.test("JS-16 the patterns of a login: words as bytes, quotes, what is not closed", async (t) => {
  t.same(patternsIn("a@b.test, @c.test\t,,\n d"), ["a@b.test", "@c.test", "d"]);
  t.same(patternsIn('"a b"@c.test,"x\\" y"@d.test'), ['"a b"@c.test', '"x\\" y"@d.test']);
  t.same(patternsIn("voil\xc3\xa0@b.test x"), ["voil\xc3\xa0@b.test", "x"], "no blank within a letter");
  t.same(patternsIn('"never closed, as it is'), ['"never closed, as it is']);
  t.same(patternsIn(""), []);
  const start = process.cpuUsage();
  patternsIn('"\\'.repeat(500_000));
  t.ok(process.cpuUsage(start).user < 1e6);
});
