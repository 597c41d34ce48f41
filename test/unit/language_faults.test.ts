/**
 * Faults that the language invites, looked for in the source itself: a new line with one of them fails here, in whatever program it is.
 * The ids are those of docs/security.md.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import t from "tap";
import { isValidUtf8 } from "../../lib/sys/bytes.ts";
import { jsonString } from "../../lib/sys/json_string.ts";

const ROOT = resolve(import.meta.dirname, "../..");

function sources(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return sources(path);
    return path.endsWith(".ts") && !path.endsWith(".d.ts") ? [path] : [];
  });
}

/** File and text without comment lines. */
const files = [...sources("lib"), ...sources("cmd")].map((file) => ({
  file,
  text: readFileSync(join(ROOT, file), "utf8")
    .replace(/^[ \t]*(?:\/\/|\*|\/\*).*$/gm, "")
    // a slash before a quoted text is no pattern
    .replaceAll("}/`", "}`"),
}));

/** `file: line` of each match; one group in the pattern is shown in place of the line. */
const found = (pattern: RegExp, except: ReadonlyArray<string> = []): string[] =>
  files
    .filter(({ file }) => !except.includes(file))
    .flatMap(({ file, text }) =>
      [...text.matchAll(pattern)].map((match) => `${file}: ${(match[1] ?? match[0]).trim()}`),
    );

const LITERAL =
  /(?:[=(,:[!&|?{};>]|\breturn|^)\s*\/(?![*/])((?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+)\/([dgimsuvy]*)(?=[\s.,;)\]:}]|$)/gm;
const literals = files.flatMap(({ file, text }) =>
  [...text.matchAll(LITERAL)].map(([, source = "", flags = ""]) => ({ file, source, flags })),
);

/** What is repeated between the head and the tail of a subject. */
const SEEDS =
  `a  \t = ( "\\ . < 0 - a. a, \\ % $ { [ \n \x20\n \r\n \0 \xe9 : / @ ' A1 a= \${ $( <a>, "a" %{ 1\x20 (( ]`
    .split(" ")
    .map((seed) => (seed === "" ? " " : seed));
const ENDS = ["", "x", "!", "\n"];

/** Milliseconds of CPU to look for every match of a pattern in a subject; the least of a few, since others use the machine as well. */
function timeOf(pattern: RegExp, subject: string, rounds: number): number {
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < rounds; round++) {
    const before = process.cpuUsage();
    subject.replace(pattern, "");
    const { user, system } = process.cpuUsage(before);
    least = Math.min(least, (user + system) / 1000);
  }
  return least;
}

t.test("JS-04 every regular expression of ours takes time in proportion to its subject", async (t) => {
  t.ok(literals.length > 150, `${literals.length} found`);
  const slow: string[] = [];
  for (const { file, source, flags } of literals) {
    const pattern = new RegExp(source, `${flags.replace(/[gy]/g, "")}g`);
    attack: for (const seed of SEEDS)
      for (const head of ["", "x"])
        for (const tail of ENDS) {
          const subject = (length: number): string =>
            head + seed.repeat(Math.ceil(length / seed.length)) + tail;
          if (timeOf(pattern, subject(1500), 1) < 1 || timeOf(pattern, subject(1500), 3) < 1) continue;
          const [once, twice] = [timeOf(pattern, subject(3000), 3), timeOf(pattern, subject(6000), 3)];
          if (twice < 2.5 * once && twice < 6) continue;
          slow.push(`${file}: /${source}/ with ${JSON.stringify(seed)}: ${once}, ${twice} ms`);
          break attack;
        }
  }
  t.same(slow, []);
});

t.test("JS-01 no dictionary of outside names is a plain object", async (t) => {
  t.same(
    found(/(?::|<)\s*(Record<string, [^>]+>) = \{\}/g, ["cmd/smtpd/policy_service.ts"]),
    [],
    "its names are ours",
  );
  t.same(found(/.*\b(?:hasOwnProperty|__proto__ ?[:=]|Object\.assign\(\{\}).*/g), []);
});

t.test("JS-12 numbers from outside are read by strict readers", async (t) => {
  t.same(found(/.*\bparseFloat\(.*/g), []);
  t.same(found(/.*\b(?<!Number\.)parseInt\(.*/g), [], "the global parseInt stops at what it does not know");
  t.same(found(/.*[^\w.]isNaN\(.*/g), [], "the global isNaN converts");
});

t.test("JS-14 no timer of the runtime gets a time of the configuration", async (t) => {
  // what is constant, or bounded where it is made
  const BOUNDED: ReadonlyArray<string> = [
    "lib/sys/timers.ts", // chains longer ones
    "lib/sys/deadlines.ts", // looks again after the longest
    "lib/sys/sockets.ts", // up to 20 ms
    "lib/privsep/run_command.ts", // up to READ_PAUSE_LIMIT
    "lib/tables/locks.ts", // up to LONGEST_MS
    "lib/tables/types/tcp.ts", // constants
    "lib/delivery/mailbox_lock.ts", // looks again after the pause
    "lib/dns/exchange.ts", // resolv.conf: up to 30 s
    "lib/ipc/client.ts", // constants
  ];
  const delays = files
    .filter(({ file }) => !BOUNDED.includes(file))
    .flatMap(({ file, text }) =>
      [...text.matchAll(/\bset(?:Timeout|Interval)\(/g)].map(({ index }) => {
        let depth = 0;
        let comma = index;
        let end = text.indexOf("(", index);
        for (; end < text.length; end++) {
          const char = text.charAt(end);
          if ("([{".includes(char)) depth++;
          else if (")]}".includes(char) && --depth === 0) break;
          else if (
            char === "," &&
            depth === 1 &&
            text
              .slice(end + 1)
              .trimStart()
              .charAt(0) !== ")"
          )
            comma = end;
        }
        return {
          file,
          delay: text
            .slice(comma + 1, end)
            .replace(/,\s*$/, "")
            .trim(),
        };
      }),
    );
  t.ok(delays.length > 10, `${delays.length} timers`);
  t.same(
    delays.filter(
      ({ delay }) => !/^(?:\d+|[A-Z][A-Z_]+(?: \* 1000)?)$|^Math\.min\(.*, 60\) \* 1000$/.test(delay),
    ),
    [],
  );
});

t.test("JS-15 case is that of ASCII, and never that of a locale", async (t) => {
  t.same(found(/.*\.(?:localeCompare|toLocale(?:Lower|Upper)Case)\(.*/g), []);
  // digits and texts of ours
  const OWN = /toString\((?:16|"hex")\)\.toUpperCase|(?:kind|summary)\b.*toUpperCase/;
  const folding = files.filter(({ file }) => !["lib/sys/bytes.ts", "lib/tables/casefold.ts"].includes(file));
  t.same(
    folding.flatMap(({ file, text }) =>
      text
        .split("\n")
        .filter((line) => /\.to(?:Lower|Upper)Case\(/.test(line) && !OWN.test(line))
        .map((line) => `${file}: ${line.trim()}`),
    ),
    [],
  );
  t.same(
    literals.filter(({ flags }) => flags.includes("i") && /[uv]/.test(flags)).map(({ source }) => source),
    [],
    "/k/iu is the Kelvin sign as well",
  );
});

t.test("JS-16 blanks are those of the C locale: 0xA0 is half of a letter", async (t) => {
  t.same(found(/.*\.trim(?:Start|End)?\(\).*/g), []);
  t.same(
    literals
      .filter(({ source }) => /\\s/.test(source.replaceAll("[\\s\\S]", "")))
      .map(({ file, source }) => `${file}: ${source}`),
    [],
  );
});

t.test("JS-30 numbers are sorted as numbers, and nothing is shuffled by sorting", async (t) => {
  t.same(found(/.*\.(?:sort|toSorted)\([^)]*Math\.random.*/g), []);
});

t.test("JS-09 JS-32 half a character is no text, and JSON stays JSON", async (t) => {
  const lone = ["\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x9f\x98", "\xc0\x8a", "\xf4\x90\x80\x80"];
  for (const text of lone) {
    t.equal(isValidUtf8(text), false);
    const shown = JSON.parse(jsonString(text)) as string;
    t.match(shown, /^\?+$/);
    t.ok(shown.isWellFormed());
  }
  for (const text of ['"', "\\", "\n\r\t\0\x7f", "__proto__", "</script>"])
    t.equal(JSON.parse(jsonString(text)), text);
  const separator = Buffer.from("\u2028\u2029", "utf8").toString("latin1");
  t.equal(JSON.parse(Buffer.from(jsonString(separator), "latin1").toString("utf8")), "\u2028\u2029");
});
