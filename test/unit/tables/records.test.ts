/** The records of an index that is being made, and the two ways to read a source, which must say the same. */
import tap from "tap";
import { LogicalLineReader } from "../../../lib/config/lines.ts";
import { lowerAscii } from "../../../lib/sys/bytes.ts";
import { Records } from "../../../lib/tables/formats/records.ts";
import { PlainLine, parseSourceLine } from "../../../lib/tables/source.ts";
import { Random } from "../../fuzz/random.ts";

const text = (bytes: Buffer): string => bytes.toString("latin1");
const byBytes = (a: string, b: string): number =>
  Buffer.compare(Buffer.from(a, "latin1"), Buffer.from(b, "latin1"));

/** Keys that share long beginnings, are parts of one another, and end in zero bytes. */
function awkwardKey(random: Random): string {
  let key = "";
  for (let parts = random.below(5); parts >= 0; parts--)
    key += random.pick([
      "user",
      "user1",
      "\0",
      "\0\0",
      "",
      "@example.org",
      "\xff",
      "a".repeat(random.below(40)),
      String(random.below(300)),
    ]);
  return key;
}

tap.test("records are found and put in order as those of a map are", (t) => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = new Random(seed);
    const records = new Records();
    const expected = new Map<string, string>();
    for (let count = random.below(6000); count >= 0; count--) {
      const key = awkwardKey(random);
      const value = String(random.below(100000));
      const replace = random.chance(2);
      const added = records.add(key, value, false, () => replace);
      if (added !== (replace || !expected.has(key))) t.fail(`seed ${seed}, key ${JSON.stringify(key)}`);
      if (added) expected.set(key, value);
    }
    const pairs = (list: ReturnType<Records["inOwnOrder"]>): string[][] =>
      list.map(({ key, value }) => [text(key), text(value)]);
    t.same(pairs(records.inOwnOrder()), [...expected], `seed ${seed}`);
    t.same(
      pairs(records.inKeyOrder()),
      [...expected].sort(([a], [b]) => byBytes(a, b)),
      `seed ${seed}, in order`,
    );
    t.equal(
      records.size,
      [...expected].reduce((size, [key, value]) => size + key.length + value.length, 0),
    );
  }
  t.end();
});

/** What a source says, line by line; with `plain` the short way where it can be gone. */
function read(source: Buffer, fold: boolean, plain: boolean): { records: string[][]; said: string[] } {
  const said: string[] = [];
  const warn = (problem: string): void => {
    said.push(problem);
  };
  const records = new Records();
  const lines = new LogicalLineReader(text(source), "source", warn);
  const plainLine = new PlainLine(source);
  for (;;) {
    if (plain && plainLine.read(lines.position)) {
      if (!records.addPlain(plainLine, fold, true, () => false)) warn(`there at ${lines.position}`);
      lines.skipTo(plainLine.next);
      continue;
    }
    const { position } = lines;
    const line = lines.next();
    if (line === undefined) break;
    const parsed = parseSourceLine(line.text, false);
    if (parsed.problem !== undefined) warn(`line ${line.line} to ${line.lastLine}: ${parsed.problem}`);
    if (parsed.kind === "skip") continue;
    const key = fold ? lowerAscii(parsed.key) : parsed.key;
    if (!records.add(key, parsed.value, true, () => false)) warn(`there at ${position}`);
  }
  return { records: records.inOwnOrder().map(({ key, value }) => [text(key), text(value)]), said };
}

const PIECES =
  'k,Key1,key2@Example.org, ,  ,\t,value,v1,#,# comment,\n,\n,\n,\n\n,\n ,\n\t,\n#,",\\,:,\x7f,\xe9,\0,\r,\v'.split(
    ",",
  );

tap.test("a plain line says what the parser of source lines says", (t) => {
  let plain = 0;
  for (let seed = 1; seed <= 4000; seed++) {
    const random = new Random(seed);
    let source = "";
    for (let count = random.below(40); count >= 0; count--)
      source += random.chance(3) ? `name${random.below(9)} value${random.below(9)}\n` : random.pick(PIECES);
    const bytes = Buffer.from(source, "latin1");
    const fold = random.chance(2);
    if (new PlainLine(bytes).read(0)) plain++;
    const [short, long] = [read(bytes, fold, true), read(bytes, fold, false)];
    if (JSON.stringify(short) !== JSON.stringify(long)) t.same(short, long, JSON.stringify(source));
  }
  t.ok(plain > 200, `${plain} sources begin with one`);
  t.end();
});
