/** mongodb tables. Debian has no MongoDB: the server is one of our own that speaks the documented protocol (a real Postfix understands it, too). */
import { BSON } from "mongodb";
import t from "tap";
import { freePort } from "../support/harness.ts";
import { FakeMongodb } from "./servers/mongodb.ts";
import { Postmap } from "./servers/postmap.ts";

t.test("mongodb", async (t) => {
  const server = await FakeMongodb.start(t, (filter) => {
    switch (filter.k) {
      case "one":
        return [{ v: "a@x" }];
      case "many":
        return [{ v: ["a", "b"] }, { v: new BSON.Int32(5), w: BSON.Long.fromNumber(2 ** 40) }];
      case "odd":
        return [{ v: new BSON.Double(1.5), b: true, n: null, d: { e: 1 }, s: "kept" }];
      case "lots":
        return [{ v: Array.from({ length: 12 }, (_, index) => `v${index}`) }];
      case "broken":
        return new Error("no way");
      default:
        return [];
    }
  });
  const settings = (
    more = 'query_filter = {"k": "%s"}\nresult_attribute = v, w\n',
    port = server.port,
  ): string =>
    `uri = mongodb://127.0.0.1:${port}/?serverSelectionTimeoutMS=1000\ndbname = mail\ncollection = users\n${more}`;
  const odd = [
    "v', Unknown result type 1.",
    "b', Unknown result type 8.",
    "n', Unknown result type 10.",
    "d', Unknown result type 3.",
  ];
  const limited = 'query_filter = {"k": "%s"}\nresult_attribute = v\nexpansion_limit = ';
  const trouble = (text: string): RegExp =>
    new RegExp(
      `^postmap: warning: mongodb:\\$CWD/m\\.cf: ${text}.*\\npostmap: fatal: table mongodb:\\$CWD/m\\.cf: query error\\n$`,
    );
  const cases: ReadonlyArray<
    readonly [settings: string, key: string, stdout: string, stderr?: RegExp | string]
  > = [
    [settings(), "ONE", "a@x\n"],
    [settings(), "many", `a,b,5,${2 ** 40}\n`],
    [settings(), "none", ""],
    [
      settings(),
      "odd",
      "kept\n",
      odd
        .map((text) => `postmap: warning: mongodb:$CWD/m.cf: failed to retrieve value of '${text}\n`)
        .join(""),
    ],
    [settings(`${limited}10\n`), "lots", "", trouble("expansion limit exceeded for key: 'lots'")],
    [
      settings(`${limited}0\n`),
      "lots",
      `${Array.from({ length: 12 }, (_, index) => `v${index}`).join(",")}\n`,
    ],
    // TAB-05: a real Postfix takes these two for "not found"
    [settings(), "broken", "", trouble("query failed: no way")],
    [settings(undefined, await freePort()), "one", "", trouble("query failed: connect ECONNREFUSED")],
    [
      settings('query_filter = {"k": "%u"}\nprojection = {"_id": 0}\nresult_format = <%s>\n'),
      "one@x",
      "<a@x>\n",
    ],
    [settings('query_filter = {"k": "%u"}\nresult_attribute = v\n'), "@x", ""],
    [settings('query_filter = {"k": "%s"}\nresult_attribute = v\ndomain = x\n'), "one", ""],
    [
      settings("query_filter = {bad\nresult_attribute = v\n"),
      "one",
      "",
      trouble("failed to create a query from '{bad'"),
    ],
    [
      settings("query_filter = {}\n"),
      "x",
      "",
      /specify exactly one of 'projection' or 'result_attribute'\n$/,
    ],
    [
      settings("query_filter = {}\nresult_attribute = v\nprojection = {}\n"),
      "x",
      "",
      /specify exactly one of/,
    ],
    [settings(`${limited}101\n`), "x", "", /invalid expansion_limit parameter value 101 > 100\n$/],
    [
      "uri = foo://x\ndbname = d\ncollection = c\nquery_filter = {}\nresult_attribute = v\n",
      "x",
      "",
      /failed to parse URI 'foo:\/\/x': Invalid/,
    ],
    ["dbname = d\n", "x", "", /bad string length 0 < 1: uri = \n$/],
  ];
  await Postmap.all(cases, async ([text, key, stdout, stderr]) => {
    const postmap = new Postmap(t);
    const table = `mongodb:${postmap.write("m.cf", text)}`;
    t.match(
      await postmap.query(table, key),
      { stdout, stderr: stderr ?? /^$/, status: stdout === "" ? 1 : 0 },
      `${key} ${text}`,
    );
  });

  server.finds.length = 0;
  const hostile = ['", "$where": "x', "back\\", 'a"b', "\xc3\xa9"];
  const postmap = new Postmap(t);
  await postmap.run(["-q", "-", `mongodb:${postmap.write("m.cf", settings())}`], `${hostile.join("\n")}\n`);
  t.same(
    server.finds.map((find) => find.filter),
    hostile.map((key) => ({ k: Buffer.from(key, "latin1").toString() })),
    "TAB-03 a key is one string of the query",
  );
  t.same(server.finds[0]?.projection, { v: 1, w: 1, _id: 0 });
});
