import t from "tap";
import { bytesOf, configurationOf, logged, readVectors } from "./support.ts";

t.test("expressions as Postfix expands them", async (t) => {
  for (const { name, files, expect } of readVectors("macro")) {
    const { configuration } = configurationOf(files["conf/main.cf"] ?? "");
    const { lines, result } = logged(() => configuration.lookup("myorigin"));
    if (expect.rc === 0) {
      t.equal(result?.trim(), bytesOf(expect.stdout).trimEnd(), name);
      t.same(lines, [], `${name}: no complaint`);
      continue;
    }
    // postconf looks at every expression once before it expands it: half of its lines are the first look's.
    const expected = [...new Set(expect.stderr.trimEnd().split("\n"))].map((line) =>
      line.replace("postconf: ", ""),
    );
    t.same(lines, [...expected.slice(0, -1), "fatal: dictionary mail_dict: macro processing error"], name);
  }
});

t.test("definitions that refer to themselves end", async (t) => {
  const { configuration } = configurationOf("myhostname = a.$mydomain\nmydomain = b.$myhostname\n");
  const { lines } = logged(() => configuration.get("myhostname"));
  t.match(lines[0], /^warning: unreasonable macro call nesting: "/);
  const bare = configurationOf("mydomain = x.$myhostname\n").configuration;
  t.same(logged(() => bare.get("myhostname")).lines, []);
  const domain = configurationOf("myhostname = a.$mydomain\n").configuration;
  t.same(logged(() => domain.get("mydomain")).lines, ["fatal: bad string length 0 < 1: mydomain = "]);
});

t.test("operands larger than a long", async (t) => {
  const { configuration } = configurationOf("a = ${{99999999999999999999} == {1}}\nb = ${{$a}}\n");
  t.same(logged(() => configuration.lookup("a")).lines, [
    "fatal: mac_exp_eval: bad conversion: 99999999999999999999",
  ]);
});

t.test("corners of the grammar, from a run of Postfix 3.11.7", async (t) => {
  const cases: ReadonlyArray<readonly [string, string | ReadonlyArray<string>]> = [
    ["${ }", ""],
    ["${?x}", ""],
    ["${:x}", "x"],
    ["${{a}==}", [`warning: "{expression}" expected at: "...{a} ==>>>"`]],
    ["${{a}=={b}?{x}y}", [`warning: ":" expected at: "...x}>>>y"`]],
    ["${a?{b}:{c}d}", [`warning: unexpected input at: "...c}>>>d"`]],
    ["${ a-b}", [`warning: attribute name syntax error at: "... a>>>-b"`]],
    ["${a =b}", [`warning: attribute name syntax error at: "...a>>> =b"`]],
    ["${e2?A}|${e2:B}", "A|"],
  ];
  for (const [text, expected] of cases) {
    const { configuration } = configurationOf(`e =\ne2 = $e\nv = ${text}\n`);
    const { lines, result } = logged(() => configuration.lookup("v"));
    if (typeof expected === "string") t.equal(result, expected, text);
    else t.same(lines, [...expected, "fatal: dictionary mail_dict: macro processing error"], text);
  }
});
