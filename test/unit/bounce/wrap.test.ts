import t from "tap";
import { wrapLine } from "../../../cmd/bounce/wrap.ts";
import { verpDelimiterProblem, verpSender } from "../../../lib/address/verp.ts";

t.test("long lines are broken at blanks, words never", (t) => {
  t.same(wrapLine("short"), ["short"]);
  t.same(wrapLine(""), [""]);
  const exact = `${"a".repeat(39)} ${"b".repeat(39)}`;
  t.same(wrapLine(exact), [exact], "79 columns fit");
  t.same(wrapLine(`${exact}b`), ["a".repeat(39), `    ${"b".repeat(40)}`]);
  const word = "w".repeat(200);
  t.same(wrapLine(`<x>: ${word} end`), ["<x>:", `    ${word}`, "    end"]);
  t.same(wrapLine(`${"a".repeat(70)}          ${"b".repeat(70)}   `), [
    "a".repeat(70),
    `    ${"b".repeat(70)}`,
  ]);
  for (const line of wrapLine("lorem ipsum ".repeat(500))) t.ok(line.length <= 79);
  t.end();
});

t.test("VERP addresses", (t) => {
  t.equal(
    verpSender("+=", "games@example.com", "nosuchuser@example.com"),
    "games+nosuchuser=example.com@example.com",
  );
  t.equal(verpSender("+=", "games@example.com", "local"), "games+local@example.com");
  t.equal(verpSender("+=", "games", "a@b"), "games+a=b");
  t.equal(verpDelimiterProblem("+=", "-=+"), undefined);
  t.equal(verpDelimiterProblem("+", "-=+"), "bad VERP delimiter character count");
  t.equal(verpDelimiterProblem("/=", "-=+"), "bad first VERP delimiter character");
  t.equal(verpDelimiterProblem("+/", "-=+"), "bad second VERP delimiter character");
  t.end();
});
