/** Known faults of address parsers and of the records that cleanup(8) takes. */
import t from "tap";
import { addressNodes, parseAddresses } from "../../../lib/address/parser.ts";
import { unparseList } from "../../../lib/address/unparser.ts";
import { type Outcome, submit } from "./harness.ts";

t.setTimeout(120_000);

t.test(
  "CLN-04 floods of tokens are parsed without recursion, in time that grows with their length",
  async (t) => {
    const floods: Readonly<Record<string, string>> = {
      comments: "(".repeat(100_000),
      "closed comments": `${"(".repeat(100_000)}${")".repeat(100_000)}`,
      groups: `${"g:".repeat(50_000)}a;`,
      brackets: "<".repeat(50_000),
      "a route": `<${Array.from({ length: 10_000 }, (_, index) => `@h${index}`).join(",")}:u@x>`,
      "an open quote": `"${"q".repeat(102_400)}`,
      backslashes: "\\".repeat(100_000),
      addresses: "a@b,".repeat(100_000),
      words: "w ".repeat(100_000),
      mixed: '(a<"b\\,;:@'.repeat(20_000),
    };
    for (const [name, text] of Object.entries(floods)) {
      const start = performance.now();
      const items = parseAddresses(text, 10_240);
      t.ok(items.length <= 30_000, `${name}: ${items.length} items`);
      t.type(unparseList(items, "header"), "string");
      t.ok(performance.now() - start < 2000, `${name}: ${Math.round(performance.now() - start)} ms`);
    }
    t.equal(
      addressNodes(parseAddresses("a@b,".repeat(100), 41)).length,
      11,
      "tokens beyond the limit are not looked at",
    );
  },
);

/** A small generator, so that a failing run can be had again. */
function random(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % limit;
  };
}

/** True when qmgr and the delivery agents can read what was stored. */
function inOrder({ records }: Outcome): boolean {
  const letters = records.map(([letter]) => letter).join("");
  return /^C[^MXEN]*S[^MXEN]*M[NLw]*X[^MXN]*E$/.test(letters.replace(/p/g, ""));
}

t.test("CLN-14 segments in hostile order end in an error, or in a file in good order", async (t) => {
  const letters = "CTFSARODM/NLXEIWVfwprme>KoniB\0\x7f";
  const data = [
    "",
    "a@b.test",
    "1700000000 0",
    "create_time=1",
    "notify_flags=2",
    "dsn_orig_rcpt=rfc822;x@y",
    "x",
    "Subject: x",
    " fold",
    "=",
    "envelope_id=\x01",
    "+=",
    "9".repeat(40),
    "rewrite_context=remote",
  ];
  let accepted = 0;
  for (let round = 0; round < 600; round++) {
    const next = random(round + 1);
    const any = (): readonly [string, string] => [
      letters[next(letters.length)] ?? "N",
      data[next(data.length)] ?? "",
    ];
    const records: Array<readonly [string, string]> = [
      ["T", "1700000000 0"],
      ["S", "a@b.test"],
      ["R", "c@d.test"],
      ["M", ""],
      ["N", "Received: x"],
      ["N", ""],
      ["N", "body"],
      ["X", ""],
      ["E", ""],
    ];
    // a message in good order with a few records added, taken away or put elsewhere
    for (let change = next(4); change >= 0; change--) {
      const at = next(records.length + 1);
      if (next(3) === 0) records.splice(at, 1);
      else records.splice(at, 0, any());
    }
    const outcome = await submit({ config: {}, flags: 0, records });
    if (outcome.status !== 0) continue;
    accepted++;
    if (!inOrder(outcome))
      t.fail(`round ${round}: ${JSON.stringify(records)} gives ${JSON.stringify(outcome.records)}`);
  }
  t.ok(accepted > 50, `${accepted} of 600 were accepted`);
});

t.test("CLN-01 a line break within a record is a blank", async (t) => {
  const { records } = await submit({
    config: {},
    flags: 0,
    records: [
      ["T", "1700000000 0"],
      ["S", "a@b.test"],
      ["R", "c@d.test"],
      ["M", ""],
      ["N", "Received: x"],
      ["N", "X-Y: a\nb\rc"],
      ["N", ""],
      ["N", "x\n.\ny"],
      ["L", "half\r"],
      ["N", "\nhalf"],
      ["X", ""],
      ["E", ""],
    ],
  });
  const content = records
    .filter(([letter]) => letter === "N" || letter === "L")
    .map(([letter, text]) => letter + text);
  t.ok(content.includes("NX-Y: a b c"));
  t.same(content.slice(-3), ["Nx . y", "Lhalf ", "N half"]);
});
