/**
 * The part of the table fuzzers that needs the runtime of the programs: it reads lines of `KIND BASE64`, and answers each with `ok`, or `bad` and
 * what was wrong. A crash ends it, which its parent notices.
 */
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { configurationFromText, installConfiguration } from "../../lib/config/configuration.ts";
import { setFatalDelay, setLogSinks } from "../../lib/log/log.ts";
import { type OpenType, TableOpenError } from "../../lib/tables/table.ts";
import { openLdap } from "../../lib/tables/types/ldap.ts";
import { openMemcache } from "../../lib/tables/types/memcache.ts";
import { openMongodb } from "../../lib/tables/types/mongodb.ts";
import { openMysql } from "../../lib/tables/types/mysql.ts";
import { openPcre } from "../../lib/tables/types/pcre.ts";
import { openPgsql } from "../../lib/tables/types/pgsql.ts";
import { openRegexp } from "../../lib/tables/types/regexp.ts";
import { openSocketmap } from "../../lib/tables/types/socketmap.ts";
import { openSqlite } from "../../lib/tables/types/sqlite.ts";
import { openTexthash } from "../../lib/tables/types/texthash.ts";

const folder = mkdtempSync(join(tmpdir(), "posthaste-fuzz-tables-"));
installConfiguration(
  configurationFromText("myhostname = mail.example.com\nsocketmap_max_reply_size = 2000\n"),
);

/** A configuration that cannot be used ends a program: an outcome like others. */
class Refused extends Error {}
setFatalDelay(0);
const { exit } = process;
process.exit = (): never => {
  throw new Refused();
};

let longest = 0;
setLogSinks([(event) => (longest = Math.max(longest, event.text.length))]);

const SUBJECTS = [
  "",
  "a",
  "user@example.com",
  "aaaaaaaaaaaaaaaaaaaaaaaa!",
  "x y z",
  "\xff\xfe",
  "k\u00e9y",
  "1".repeat(300),
];
const RESULTS: ReadonlySet<string> = new Set(["found", "absent", "error"]);

async function look(open: OpenType, name: string, subjects: ReadonlyArray<string>): Promise<void> {
  const table = await open(name, { flags: 0, access: "read" } as never);
  try {
    for (const subject of subjects) {
      const result = await table.lookup(subject);
      if (!RESULTS.has(result.kind)) throw new Error(`result ${result.kind}`);
    }
  } finally {
    table.close?.();
  }
}

/** A file that was not changed just now. */
function file(input: Buffer): string {
  const path = join(folder, "table");
  writeFileSync(path, input);
  utimesSync(path, 1, 1);
  return path;
}

/** A server that answers the same to everything. */
let answer: Buffer = Buffer.alloc(0);
const respond = {
  data(socket: { write(bytes: Buffer): number; end(): void }): void {
    socket.write(answer);
    socket.end();
  },
};
const path = join(folder, "server");
Bun.listen({ unix: path, socket: respond as never });
writeFileSync(
  join(folder, "memcache.cf"),
  `memcache = unix:${path}\nmax_try = 1\nretry_pause = 1\ntimeout = 2\nline_size_limit = 1024\ndata_size_limit = 4096\n`,
);
utimesSync(join(folder, "memcache.cf"), 1, 1);

const SETTINGS: ReadonlyArray<OpenType> = [
  openLdap,
  openMysql,
  openPgsql,
  openMemcache,
  openMongodb,
  openSqlite,
];

const KINDS: Readonly<Record<string, (input: Buffer) => Promise<void>>> = {
  regexp: (input) => look(openRegexp, file(input), SUBJECTS),
  pcre: (input) => look(openPcre, file(input), SUBJECTS),
  texthash: (input) => look(openTexthash, file(input), SUBJECTS),
  async settings(input) {
    const name = file(input);
    for (const open of SETTINGS)
      try {
        await look(open, name, []);
      } catch (error) {
        if (!(error instanceof Refused || error instanceof TableOpenError)) throw error;
      }
  },
  async replies(input) {
    answer = input;
    await look(openSocketmap, `unix:${path}:map`, ["key"]);
    await look(openMemcache, join(folder, "memcache.cf"), ["key"]);
  },
};
async function check(kind: string, input: Buffer): Promise<string> {
  longest = 0;
  const work = KINDS[kind];
  if (work === undefined) return `bad kind ${kind}`;
  try {
    await work(input);
  } catch (error) {
    if (!(error instanceof Refused || error instanceof TableOpenError))
      return `bad ${error instanceof Error ? error.stack?.replaceAll("\n", " | ") : error}`;
  }
  return longest > 300_000 ? `bad log line of ${longest} characters` : "ok";
}

let text = "";
for await (const chunk of Bun.stdin.stream()) {
  text += Buffer.from(chunk).toString("latin1");
  for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
    const [kind = "", bytes = ""] = text.slice(0, end).split(" ");
    text = text.slice(end + 1);
    process.stdout.write(`${await check(kind, Buffer.from(bytes, "base64"))}\n`);
  }
}
rmSync(folder, { recursive: true, force: true });
exit(0);
