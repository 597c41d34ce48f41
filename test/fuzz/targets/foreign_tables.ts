/** Tables whose code needs the programs' runtime: patterns by libc and libpcre2, settings of tables on servers, and what such servers say. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import type { Target } from "../runner.ts";

const BUN = join(import.meta.dirname, "../../../node_modules/bun/bin/bun.exe");

/** One child for all inputs; a new one after a crash, and after so many that leaks of the libraries do not matter. */
class Child {
  #child: ChildProcess | undefined;
  #answer: ((line: string) => void) | undefined;
  #asked = 0;

  #start(): ChildProcess {
    const child = spawn(BUN, ["run", join(import.meta.dirname, "../table_child.ts")], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    let text = "";
    child.stdout.setEncoding("latin1").on("data", (chunk: string) => {
      text += chunk;
      const end = text.indexOf("\n");
      if (end < 0) return;
      const line = text.slice(0, end);
      text = text.slice(end + 1);
      this.#answer?.(line);
    });
    child.stdin.on("error", () => undefined);
    child.on("exit", (code, signal) => {
      if (this.#child !== child) return;
      this.#child = undefined;
      this.#answer?.(`bad the child ended with ${code ?? signal}`);
    });
    // nobody waits for it
    child.unref();
    for (const stream of [child.stdin, child.stdout]) (stream as unknown as { unref?(): void }).unref?.();
    return child;
  }

  async ask(kind: string, input: Buffer): Promise<void> {
    if (++this.#asked % 20_000 === 0) {
      this.#child?.kill();
      this.#child = undefined;
    }
    this.#child ??= this.#start();
    const child = this.#child;
    const answer = await new Promise<string>((resolve) => {
      const timer = setTimeout(() => {
        child.kill("SIGKILL");
        resolve("bad no answer in 20 s");
      }, 20_000);
      this.#answer = (line) => {
        clearTimeout(timer);
        resolve(line);
      };
      child.stdin?.write(`${kind} ${input.toString("base64")}\n`);
    });
    assert.equal(answer, "ok");
  }
}
const child = new Child();

/** What makes libc's regcomp() or regexec() take all memory or time: the admin's own doing, in Postfix as well. */
const EXPLODES = /[*+?}]{3}|\{\d{3,}|\{[^}]*\}.{0,40}\{[^}]*\}.{0,40}\{|\\[1-9]/s;

const RULES = [
  "/^(a|ab)(c|bcd)?$/ $1,$2\n/[[:alpha:]]+@example\\.com/ OK\nif /x/\n/y/ REJECT ${1}z\nendif\n!/z/i neither\n",
  "/^Subject: (.*)$/ WARN $1 $$ ${1}\n# comment\n  continued\n|^a+$| bar\n/(?<n>x)\\1/ back\n",
  "if !/^Received:/\n/a{2,5}b*c?/ FILTER smtp:[127.0.0.1]\nelse\nendif\nendif\n",
];

const PATTERN_WORDS = [
  ..."( ) [ ] { } * + ? | ^ $ . \\ / ! # \" ' \n \n\x20 \0 \xff".split(" "),
  ...[
    "if ",
    "endif\n",
    "[[:alpha:]]",
    "[[:<:]]",
    "(?i)",
    "(?=",
    "(?<!",
    "(?:",
    "(?>",
    "\\Q",
    "\\E",
    "\\K",
    "\\R",
    "\\x{",
    "\\p{L}",
  ],
  ...[
    "{1,3}",
    "{,5}",
    "$1",
    "${12}",
    "$(1)",
    "/i",
    "/xmA",
    "a".repeat(100),
    "(".repeat(50),
    "[^]",
    "[]-a]",
    "[a-",
    "(*UTF)",
    "(?R)",
    "(?1)",
  ],
];

export const patterns: Target = {
  name: "patterns",
  seeds: RULES.map((rules) => Buffer.from(rules, "latin1")),
  words: PATTERN_WORDS,
  async check(input) {
    if (!EXPLODES.test(input.toString("latin1"))) await child.ask("regexp", input);
    await child.ask("pcre", input);
    await child.ask("texthash", input);
  },
};

const SETTINGS = [
  "hosts = localhost unix:/run/x.sock inet:[::1]:3306\nuser = u\npassword = p\ndbname = d\nquery = SELECT a FROM t WHERE k = '%s' AND d = '%d'\nresult_format = %s\ndomain = example.com\nexpansion_limit = 5\noption_group = client\nidle_interval = 1\n",
  "server_host = ldap://localhost:389 ldaps://[::1]\nsearch_base = dc=example, dc=%2, dc=%1\nquery_filter = (&(mail=%s)(!(x=%u*)))\nresult_attribute = maildrop\nspecial_result_attribute = member\nleaf_result_attribute = mail\nscope = one\nbind = sasl\nversion = 3\nsize_limit = 1\nchase_referrals = yes\nstart_tls = no\ntimeout = 5\n",
  "memcache = inet:localhost:11211\nbackup = static:x\nkey_format = pre-%s\nttl = 3600\nmax_try = 2\nline_size_limit = 1024\ndomain = static:all\nkey_digest = sha1\n",
  'uri = mongodb+srv://u:p@localhost/?authSource=admin\ndbname = mail\ncollection = t\nquery_filter = {"$or": [{"username":"%s"}, {"a.b": "%u"}], "active": 1}\nresult_attribute = a, b.c\nprojection = {"_id": 0, "r": {"$concat": ["%s"]}}\n',
  "dbpath = /nonexistent/x.sqlite\nquery = SELECT 1 WHERE '%s' = \"%u\"\ntable = t\nselect_field = a\nwhere_field = b\nadditional_conditions = AND 1\n",
];

export const tableSettings: Target = {
  name: "table_settings",
  seeds: SETTINGS.map((text) => Buffer.from(text, "latin1")),
  words: [
    ..."= % %s %u %d %1 %9 %% %S %x , ; : / [ ] { } ( ) \" ' \\ ? & @ ! * \n \n\x20 # \0 \xff".split(" "),
    ...[
      "yes",
      "no",
      "-1",
      "99999999999999999999",
      "1h",
      "inet:",
      "unix:",
      "ldapi://%2f",
      "ldap://",
      "mongodb://",
      "postgresql://u@[::1]:x/y?z=%zz",
    ],
    ...[
      '{"$where": 1}',
      "{".repeat(60),
      "[".repeat(60),
      "(&".repeat(60),
      "hosts = ",
      "query = ",
      "server_host = ",
      "uri = ",
      "memcache = ",
      "tls_ca_cert_file = /etc/passwd\n",
    ],
  ],
  check: (input) => child.ask("settings", input),
};

export const tableReplies: Target = {
  name: "table_replies",
  seeds: [
    "9:OK value1,",
    "9:NOTFOUND ,",
    "8:TEMP bad,",
    "10:PERM never,",
    "VALUE key 0 5\r\nhello\r\nEND\r\n",
    "END\r\n",
    "STORED\r\n",
    "SERVER_ERROR out of memory\r\n",
  ].map((text) => Buffer.from(text)),
  words: [
    ..."0: 00005: 999999999: -1: 2001: , : \r\n \n \0 \xff OK TEMP TIMEOUT PERM NOTFOUND FOO".split(" "),
    ...[
      "VALUE key ",
      "END\r\n",
      "ERROR\r\n",
      "CLIENT_ERROR x\r\n",
      "4294967295",
      "18446744073709551616",
      "x".repeat(1500),
    ],
  ],
  check: (input) => child.ask("replies", input),
};
