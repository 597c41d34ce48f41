/** Programs that we start: their words are bytes, and nothing of them is left. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import t from "tap";

const BUN = join(import.meta.dirname, "../../../node_modules/bun/bin/bun.exe");

t.test("words and descriptors", async (t) => {
  const said = execFileSync(BUN, ["run", join(import.meta.dirname, "spawn_check.ts")], {
    encoding: "utf8",
    timeout: 60_000,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const output = said.slice(said.indexOf("{"));
  t.same(said.slice(0, said.indexOf("{")), "to two\n");
  const ignored = (line: unknown): bigint => BigInt(`0x${String(line).split(/\s+/)[1]}`) & (1n << 12n);
  const {
    "signals ignored": none,
    "SIGPIPE stays ignored": pipe,
    ...results
  } = JSON.parse(output) as Record<string, unknown>;
  t.equal(ignored(none), 0n, "SIGPIPE has its default action");
  t.not(ignored(pipe), 0n, "SIGPIPE stays ignored");
  t.same(results, {
    words: "caf\xe9caf\xe9",
    "own environment": "caf\xe9 caf\xc3\xa9",
    directory: "caf\xe9\n",
    "argv[0]": "caf\xe9",
    "found in PATH": "found\n",
    "PATH of its own": "no interpreter line: x\n",
    session: "own\n",
    "no session": true,
    descriptors: "0 1 2 3 ",
    "no such file": "ENOENT",
    "not in PATH": "ENOENT",
    "not executable": "EACCES",
    "no such directory": "ENOENT",
    "a NUL": "EINVAL",
    "too long": "E2BIG",
    status: { kind: "exit", status: 42 },
    signal: { kind: "signal", signal: 9 },
    "both outputs": "out\nerr\n",
    "large output": 1_000_000,
    "end of a watched program": { kind: "exit", status: 3 },
    "placed descriptors": ["a\nc\n", "b\n"],
    "our first ones moved": "to one\n",
    "one after another": true,
    "a hundred at a time": true,
    "descriptors left": 0,
    "children left": 0,
  });
});
