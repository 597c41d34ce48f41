import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import t from "tap";
import { configurationFromText, installConfiguration } from "../../../lib/config/configuration.ts";
import { setLogSinks } from "../../../lib/log/log.ts";
import { type MatchKind, MatchList } from "../../../lib/tables/match.ts";
import { allowSurrogates } from "../../../lib/tables/policy.ts";

const directory = mkdtempSync(`${tmpdir()}/match-`);
t.teardown(() => rmSync(directory, { recursive: true }));
installConfiguration(configurationFromText("compatibility_level = 3.11\n"));

const lines: string[] = [];
setLogSinks([(event) => lines.push(`${event.level === "info" ? "" : `${event.level}: `}${event.text}`)]);
allowSurrogates(true);

interface Case {
  list_type: "namadr_list" | "domain_list" | "string_list";
  list: string;
  name: string;
  addr?: string;
  parent?: boolean;
  result: "YES" | "NO" | "ERROR" | "FATAL";
  stderr: string;
}
const vectors = JSON.parse(readFileSync("test/vectors/tables/match_lists.json", "utf8")) as {
  files: Record<string, string>;
  cases: Case[];
};
mkdirSync(`${directory}/w`);
for (const [name, text] of Object.entries(vectors.files)) writeFileSync(`${directory}/${name}`, text);

const KINDS: Record<Case["list_type"], MatchKind> = {
  namadr_list: "namadr",
  domain_list: "domain",
  string_list: "string",
};
const bytes = (text: string): string => Buffer.from(text, "utf8").toString("latin1");

t.test("match lists give the reference's verdicts and log lines", async (t) => {
  for (const one of vectors.cases) {
    // a process that ends cannot be tested here; regexp needs libc
    if (one.stderr.includes("fatal:") || one.list.includes("regexp:")) continue;
    lines.length = 0;
    const list = await MatchList.open(
      "command line",
      bytes(one.list.replaceAll("$CWD", directory)),
      KINDS[one.list_type],
      {
        parentMode: one.parent === true,
      },
    );
    const result = await list.matches(bytes(one.name), one.addr ?? undefined);
    list.close();
    const verdict = result.kind === "match" ? "YES" : result.kind === "none" ? "NO" : "ERROR";
    const title = `${one.list_type} <${one.list}> ${one.name} ${one.addr} parent=${one.parent}`;
    // `::1` is a broken table name: the reference's test program died of it, a daemon defers
    t.equal(verdict, one.result === "FATAL" ? "ERROR" : one.result, title);
    if (one.result === "FATAL") continue;
    const logged = lines
      .map((line) => `${line}\n`)
      .join("")
      .replaceAll(directory, "$CWD");
    t.equal(logged, bytes(one.stderr), title);
  }
});

t.test(
  "what a list of texts says of a client depends on its name as well as on its address, also the second time",
  async (t) => {
    const list = await MatchList.open("list", "trusted.example, !192.0.2.9, 192.0.2.0/24", "namadr");
    for (const round of [1, 2])
      for (const [name, address, kind] of [
        ["trusted.example", "198.51.100.1", "match"],
        ["other.example", "198.51.100.1", "none"],
        ["unknown", "192.0.2.1", "match"],
        ["unknown", "192.0.2.9", "none"],
        ["trusted.example", "192.0.2.9", "match"],
      ] as const)
        t.same(await list.matches(name, address), { kind }, `${name} ${address}, time ${round}`);
    list.close();
  },
);
