/** tcp, socketmap and memcache tables against servers that follow a script; the texts are those of a real Postfix on the same script. */
import { existsSync, readFileSync } from "node:fs";
import t, { type Test } from "tap";
import { freePort } from "../support/harness.ts";
import { Postmap } from "./servers/postmap.ts";
import { listens, serverFolder, startServer } from "./servers/processes.ts";
import { type ScriptedReply, ScriptedServer } from "./servers/scripted.ts";

interface Expected {
  readonly value?: string;
  /** Not found without a word. */
  readonly absent?: true;
  readonly stderr?: string;
}

const CLOSE = { close: true } as const;

/** Asks a server of the case's own, so that cases can run side by side; the place of the server is shown as PLACE. */
async function check(
  t: Pick<Test, "same" | "teardown">,
  postmap: Postmap,
  table: string,
  replies: ReadonlyArray<ScriptedReply>,
  expected: Expected,
  key = "Key A",
): Promise<string[]> {
  const server = await ScriptedServer.start(t);
  server.script(...replies);
  const place = `127.0.0.1:${server.port}`;
  const run = await postmap.query(table.replace("PLACE", place), key);
  t.same(
    {
      ...run,
      stderr: run.stderr.replaceAll(place, "PLACE").replace(/unexpected EOF \(.*\)/, "unexpected EOF"),
    },
    {
      stdout: expected.value === undefined ? "" : `${expected.value}\n`,
      stderr: expected.stderr ?? "",
      status: expected.value === undefined ? 1 : 0,
    },
    JSON.stringify(replies).slice(0, 100),
  );
  return server.requests;
}

t.test("tcp", async (t) => {
  const postmap = new Postmap(t);
  const table = "tcp:PLACE";
  const fatal = `postmap: fatal: table ${table}: query error\n`;
  const trouble = (text: string): string => `postmap: warning: read TCP map reply from PLACE: ${text}\n`;
  const failed = (text: string): Expected => ({ stderr: trouble(text) + fatal });
  const cases: ReadonlyArray<readonly [ScriptedReply[], Expected]> = [
    [["200 re%20sult%25x\n"], { value: "re sult%x" }],
    [["500 not found\n"], { absent: true }],
    [["400 later\n"], { stderr: fatal }],
    [["junk\n"], failed("malformed reply: junk")],
    [["200\n"], failed("malformed reply: 200")],
    [["200 a%zz\n"], failed("malformed reply: 200 a%zz")],
    [["300 x\n"], failed("bad status code: 300 x")],
    [[CLOSE, "200 x\n"], { value: "x", stderr: trouble("unexpected EOF") }],
    // TAB-06
    [[{ last: `200 ${"x".repeat(5000)}` }, "500 x\n"], { stderr: trouble("text longer than 4096") }],
  ];
  await Postmap.all(cases, async ([replies, expected]) => {
    await check(t, postmap, table, replies, expected);
  });
  const requests = await check(t, postmap, table, ["500 x\n"], { absent: true }, "Key a%b~\xc3\xa9");
  t.same(requests, ["get Key%20a%25b~%C3%A9\n"], "what is not printable ASCII is encoded");
  await Postmap.all(
    [
      [["-d", "k", "tcp:127.0.0.1:7"], "tcp:127.0.0.1:7 map requires O_RDONLY access mode"],
      [["-s", "tcp:127.0.0.1:7"], "table tcp:127.0.0.1:7: sequence operation is not supported"],
      [["-q", "x", "tcp:127.0.0.1"], "127.0.0.1: garbage after numerical service"],
    ] as const,
    async ([args, text]) => {
      t.same(await postmap.run(args), { stdout: "", stderr: `postmap: fatal: ${text}\n`, status: 1 }, text);
    },
  );
});

t.test("socketmap", async (t) => {
  const postmap = new Postmap(t);
  const table = "socketmap:inet:PLACE:mymap";
  const fatal = `postmap: fatal: table ${table}: query error\n`;
  const failed = (text: string): Expected => ({
    stderr: `postmap: warning: table ${table} lookup error: ${text}\n${fatal}`,
  });
  const refused = (text: string): Expected => ({
    stderr: `postmap: warning: ${table} socketmap server ${text}\n${fatal}`,
  });
  const cases: ReadonlyArray<readonly [ScriptedReply[], Expected]> = [
    [["9:OK result,"], { value: "result" }],
    [["00009:OK result,"], { value: "result" }],
    [["9:NOTFOUND ,"], { absent: true }],
    [["8:NOTFOUND,"], { absent: true }],
    [["12:TEMP not now,"], refused("temporary error: not now")],
    [["10:TIMEOUT ab,"], refused("timeout error: ab")],
    [
      ["7:PERM no,"],
      { stderr: refused("permanent error: no").stderr?.replace(/: query error/, ": query error") ?? "" },
    ],
    [["3:FOO,"], refused("unknown error")],
    [["0:,"], refused("unknown error")],
    [["999999999:"], failed("input exceeds size limit")],
    [["-1:"], failed("input format error")],
    [["5abc:"], failed("input format error")],
    [[":OK,"], failed("input format error")],
    [["9:OK result;"], failed("input format error")],
    [[CLOSE, "9:OK result,"], { value: "result" }],
    [[{ last: "9:OK res" }, "9:OK result,"], { value: "result" }],
    [[CLOSE], failed("unexpected disconnect")],
  ];
  await Postmap.all(cases, async ([replies, expected]) => {
    await check(t, postmap, table, replies, expected);
  });
  t.same(await check(t, postmap, table, ["8:NOTFOUND,"], { absent: true }), ["11:mymap Key A,"]);
  const requests = await check(
    t,
    postmap,
    table,
    ["5:OK x,"],
    {
      stderr: `postmap: warning: table ${table} query too large: '${"x".repeat(100)}...', returning 'not found'\n`,
    },
    "x".repeat(10_001),
  );
  t.same(requests, [], "TAB-06 a key that is too long is not sent");
  await Postmap.all(
    [
      ["socketmap:foo", "postmap: fatal: socketmap requires server:socketmap argument\n"],
      ["socketmap:a:b", 'postmap: fatal: need service transport:endpoint instead of "a"\n'],
      [
        "socketmap:unix:/nonexist:m",
        "postmap: warning: connect to /nonexist: No such file or directory\n" +
          "postmap: warning: table socketmap:unix:/nonexist:m lookup error: No such file or directory\n" +
          "postmap: fatal: table socketmap:unix:/nonexist:m: query error\n",
      ],
    ] as const,
    async ([name, stderr]) => {
      t.same(await postmap.query(name, "k"), { stdout: "", stderr, status: 1 });
    },
  );
});

t.test("many keys use one connection, and the whole key alone is asked (TAB-10)", async (t) => {
  const postmap = new Postmap(t);
  const server = await ScriptedServer.start(t);
  server.script("8:NOTFOUND,");
  const keys = ["user+ext@host.example.com", "other@example.org", "192.0.2.1"];
  await postmap.run(["-q", "-", `socketmap:inet:127.0.0.1:${server.port}:m`], `${keys.join("\n")}\n`);
  t.same(
    server.requests,
    keys.map((key) => `${key.length + 2}:m ${key},`),
  );
  t.equal(server.connections, 1);
});

t.test("memcache", async (t) => {
  const settings = (postmap: Postmap, place: string, more = ""): string =>
    `memcache:${postmap.write("mc.cf", `memcache = inet:${place}\n${more}`)}`;
  /** Settings, arguments before the table, standard input, replies; what comes out, and the requests. */
  interface Case {
    readonly settings?: string;
    readonly args?: ReadonlyArray<string>;
    readonly input?: string;
    readonly replies: ReadonlyArray<ScriptedReply>;
    readonly stdout?: string;
    readonly stderr?: RegExp;
    readonly status: number;
    readonly requests?: ReadonlyArray<string> | RegExp;
    readonly why?: string;
  }
  const change = "ttl = 77\nflags = 3\ndata_size_limit = 10\n";
  const backup = "backup = inline:{k=back}\n";
  const unexpected = (reply: string): RegExp =>
    new RegExp(
      `^postmap: warning: \\$CWD/mc.cf: unexpected memcache server reply: ${reply}\npostmap: fatal: table memcache:\\$CWD/mc.cf: query error\n$`,
    );
  const cases: Case[] = [
    {
      replies: ["VALUE k 0 5\r\nhello\r\nEND\r\n"],
      stdout: "hello\n",
      status: 0,
      requests: ["get k\r\n"],
      why: "keys are folded",
    },
    { replies: ["END\r\n"], status: 1 },
    ...["ERROR", "VALUE k 0 99999", "VALUE k 0 x"].map((reply) => ({
      replies: [`${reply}\r\n`],
      stderr: unexpected(reply),
      status: 1,
      requests: ["get k\r\n", "get k\r\n"],
      why: "a reply that makes no sense is asked for again",
    })),
    ...["VALUE k 0 5\r\nhel\r\nEND\r\n", "VALUE k 0 5\r\nhello\r\nFOO\r\n\r\n"].map((reply) => ({
      replies: [{ last: reply }],
      stderr: /EOF receiving memcache server reply\n.*query error\n$/,
      status: 1,
      why: "TAB-07 a value of another length than announced, or without END",
    })),
    { replies: [CLOSE], stderr: /warning: database memcache:\S+: I\/O error: /, status: 1 },
    { replies: [CLOSE, "VALUE k 0 2\r\nok\r\nEND\r\n"], stdout: "ok\n", status: 0 },
    { settings: "line_size_limit = 5\n", replies: ["VALUE a 0 30\r\n"], stderr: /I\/O error/, status: 1 },
    {
      settings: "timeout = 1\nmax_try = 1\n",
      replies: [""],
      stderr: /I\/O error: Connection timed out\n/,
      status: 1,
    },
    ...["a b", "a\r\ndelete x", "a\tb", "a\x01b"].map((key) => ({
      args: ["-q", key],
      replies: ["END\r\n"],
      status: 1,
      requests: [],
      why: "TAB-07 what would end a word or a line is never sent",
    })),
    {
      settings: "key_digest = sha256\n",
      args: ["-q", "a b"],
      replies: ["END\r\n"],
      status: 1,
      requests: /^get [0-9a-f]{64}\r\n$/,
    },
    {
      settings: "key_digest = nosuch\n",
      replies: [],
      stderr: /key digest nosuch is not available\n$/,
      status: 1,
    },
    {
      settings: "key_format = pfx:%u/%d\n",
      args: ["-q", "a@b.c"],
      replies: ["END\r\n"],
      status: 1,
      requests: ["get pfx:a/b.c\r\n"],
    },
    {
      settings: "key_format = pfx:%u/%d\n",
      args: ["-q", "plain"],
      replies: ["END\r\n"],
      status: 1,
      requests: [],
    },
    {
      settings: "domain = example.com\n",
      args: ["-q", "a@example.org"],
      replies: ["END\r\n"],
      status: 1,
      requests: [],
    },
    {
      settings: change,
      args: ["-i"],
      input: "K v1 v2\n",
      replies: ["STORED\r\n"],
      status: 0,
      requests: ["set k 3 77 5\r\nv1 v2\r\n"],
    },
    {
      settings: change,
      args: ["-i"],
      input: "K v\n",
      replies: ["NOT_STORED\r\n"],
      stderr: /warning: database \S+: update failed: NOT_STORED\n.*fatal: table \S+: write error\n$/,
      status: 1,
    },
    {
      settings: change,
      args: ["-i"],
      input: "K longer than that\n",
      replies: [],
      stderr: /data for key k is too long \(data_size_limit=10\) -- not stored\n$/,
      status: 0,
    },
    { args: ["-d", "K"], replies: ["DELETED\r\n"], status: 0, requests: ["delete k\r\n"] },
    { args: ["-d", "K"], replies: ["NOT_FOUND\r\n"], status: 1 },
    { args: ["-d", "K"], replies: ["FOO\r\n"], stderr: /delete failed: FOO\n.*delete error\n$/, status: 1 },
    {
      settings: backup,
      replies: ["END\r\n", "STORED\r\n"],
      stdout: "back\n",
      status: 0,
      requests: ["get k\r\n", "set k 0 3600 4\r\nback\r\n"],
      why: "what the backup knows goes into the cache",
    },
    { settings: backup, args: ["-q", "other"], replies: ["END\r\n"], status: 1 },
    { settings: backup, args: ["-s"], replies: [], stdout: "k\tback\n", status: 0 },
    { args: ["-s"], replies: [], stderr: /first\/next support requires backup database/, status: 0 },
  ];
  await Postmap.all(cases, async (one) => {
    const server = await ScriptedServer.start(t);
    const postmap = new Postmap(t);
    server.script(...one.replies);
    const table = settings(postmap, `127.0.0.1:${server.port}`, one.settings);
    const run = await postmap.run([...(one.args ?? ["-q", "K"]), table], one.input);
    const name = `${one.why ?? ""} ${JSON.stringify(one)}`.slice(0, 200);
    t.match(run, { stdout: one.stdout ?? "", stderr: one.stderr ?? /^$/, status: one.status }, name);
    if (one.requests instanceof RegExp) t.match(server.requests[0], one.requests, name);
    else if (one.requests !== undefined) t.same(server.requests, one.requests, name);
  });

  t.test("without a server", async (t) => {
    const postmap = new Postmap(t);
    const port = await freePort();
    const refused = `postmap: warning: connect to 127.0.0.1:${port}: Connection refused\n`;
    const down = settings(postmap, `127.0.0.1:${port}`, backup);
    t.same(await postmap.query(down, "k"), { stdout: "back\n", stderr: refused + refused, status: 0 });
    const alone = settings(postmap, `127.0.0.1:${port}`);
    t.match(await postmap.query(alone, "k"), {
      stderr: `${refused}postmap: fatal: table memcache:$CWD/mc.cf: query error\n`,
      status: 1,
    });
  });
});

t.test(
  "memcache with memcached",
  existsSync("/usr/bin/memcached") ? {} : { skip: "no memcached" },
  async (t) => {
    const folder = serverFolder(t, "memcached", "nobody");
    const port = await freePort();
    await startServer(
      t,
      folder,
      "/usr/bin/memcached",
      ["-l", "127.0.0.1", "-p", String(port), "-U", "0", "-u", "nobody"],
      () => listens(port),
    );
    const postmap = new Postmap(t);
    const table = `memcache:${postmap.write("mc.cf", `memcache = inet:127.0.0.1:${port}\nkey_format = x-%s\n`)}`;
    t.match(await postmap.query(table, "k"), { stdout: "", stderr: "", status: 1 });
    t.match(await postmap.run(["-i", table], "k one two\nother 2\n"), { stderr: "", status: 0 });
    t.match(await postmap.run(["-q", "-", table], "K\nother\nnone\n"), {
      stdout: "K\tone two\nother\t2\n",
      status: 0,
    });
    t.match(await postmap.run(["-d", "k", table]), { stderr: "", status: 0 });
    t.match(await postmap.query(table, "k"), { stdout: "", stderr: "", status: 1 });
    t.match(
      await postmap.query(table, "x".repeat(300)),
      { stderr: /unexpected memcache server reply: CLIENT_ERROR/, status: 1 },
      "TAB-07 a key of more than 250 bytes",
    );
  },
);

interface Wire {
  readonly type: string;
  readonly key: string;
  readonly map?: string;
  readonly op?: string;
  readonly key_format?: string;
  readonly value?: string;
  readonly request?: string;
  readonly reply: string;
  readonly result?: string | null;
  readonly error?: string | null;
  readonly warning?: string;
  readonly status?: string;
}

t.test("exchanges recorded with a real Postfix", async (t) => {
  const cases = (JSON.parse(readFileSync("test/vectors/tables/wire.json", "utf8")) as Wire[]).filter(
    ({ type }) => type !== "proxy",
  );
  await Postmap.all(cases, async (one) => {
    const postmap = new Postmap(t);
    const server = await ScriptedServer.start(t);
    const place = `127.0.0.1:${server.port}`;
    const table =
      one.type === "tcp"
        ? `tcp:${place}`
        : one.type === "socketmap"
          ? `socketmap:inet:${place}:${one.map}`
          : `memcache:${postmap.write("mc.cf", `memcache = inet:${place}\nkey_format = ${one.key_format}\n`)}`;
    const key = Buffer.from(one.key).toString("latin1");
    server.script(one.reply);
    const run =
      one.op === "update"
        ? await postmap.run(["-i", table], `${key} ${one.value}\n`)
        : await postmap.run([one.op === "delete" ? "-d" : "-q", key, table]);
    const name = JSON.stringify(one);
    if (one.request !== undefined) t.same(server.requests[0], one.request, name);
    if (typeof one.result === "string") t.equal(run.stdout, `${one.result}\n`, name);
    if (one.result === null || one.status === "notfound") t.equal(run.status, 1, name);
    if (one.status === "ok") t.equal(run.status, 0, name);
    if (typeof one.error === "string") t.match(run.stderr, /query error/, name);
    if (one.warning !== undefined)
      t.match(run.stderr, `warning: ${one.warning.replace("HOST:PORT", place)}\n`, name);
  });
});
