/** Starts programs under Bun in every way and prints what came of it; "words and descriptors" of spawn.test.ts reads it. */
import { closeSync, mkdirSync, mkdtempSync, readdirSync, readSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toBytes } from "../../../lib/sys/bytes.ts";
import { currentEnvironment, setEnvironmentVariable } from "../../../lib/sys/environment.ts";
import { makePipe } from "../../../lib/sys/files.ts";
import { ignoreSignal } from "../../../lib/sys/process.ts";
import { outputOf, type ProgramEnd, runProgram, startWatched } from "../../../lib/sys/program_end.ts";
import type { Start } from "../../../lib/sys/spawn.ts";

const folder = mkdtempSync(join(tmpdir(), "posthaste-spawn-"));
const LATIN1 = "caf\xe9";
const environment = new Map([["PATH", "/usr/bin:/bin"]]);
const sh = (script: string, more: Partial<Start> = {}, ...args: string[]): Start => ({
  path: "/bin/sh",
  argv: ["sh", "-c", script, "sh", ...args],
  environment,
  ...more,
});
const output = (start: Start): string => outputOf(start).output;
const refusal = (start: Start): string => {
  try {
    return `status ${JSON.stringify(runProgram(start))}`;
  } catch (error) {
    return (error as { code: string }).code;
  }
};
const descriptors = (): string[] => readdirSync("/proc/self/fd");

mkdirSync(Buffer.concat([toBytes(`${folder}/${LATIN1}`)]));
writeFileSync(`${folder}/script`, "echo no interpreter line: $1\n", { mode: 0o755 });
writeFileSync(`${folder}/data`, "", { mode: 0o644 });
ignoreSignal(13);
setEnvironmentVariable("OWN", LATIN1);
setEnvironmentVariable("UTF8", "caf\xc3\xa9");

const results: Record<string, unknown> = {
  words: output(sh('printf %s "$1" "$V"', { environment: new Map([...environment, ["V", LATIN1]]) }, LATIN1)),
  "own environment": output(sh('printf "%s %s" "$OWN" "$UTF8"', { environment: currentEnvironment() })),
  directory: output(sh("pwd", { directory: `${folder}/${LATIN1}` })).replace(`${folder}/`, ""),
  "argv[0]": output({ path: "/bin/sh", argv: [LATIN1, "-c", 'printf %s "$0"'], environment }),
  "found in PATH": output({ path: "echo", argv: ["echo", "found"], environment }),
  "PATH of its own": output({
    path: "script",
    argv: ["script", "x"],
    environment: new Map([["PATH", `/nowhere:${folder}:/bin`]]),
  }),
  session: output(
    sh("set -- $(cat /proc/self/stat); test $5 != $(cut -d' ' -f5 /proc/$PPID/stat) && echo own", {
      session: true,
    }),
  ),
  "no session": output(sh("set -- $(cat /proc/self/stat); echo $6")).trim() === sessionOf(process.pid),
  "signals ignored": output(sh("grep SigIgn /proc/self/status")),
  "SIGPIPE stays ignored": output(sh("grep SigIgn /proc/self/status", { keepIgnoringPipe: true })),
  descriptors: output(sh("ls /proc/self/fd | tr '\\n' ' '")),
  "no such file": refusal({ path: "/nowhere/x", argv: ["x"], environment }),
  "not in PATH": refusal({ path: "no-such-program", argv: ["x"], environment }),
  "not executable": refusal({
    path: "data",
    argv: ["x"],
    environment: new Map([["PATH", `${folder}:/bin`]]),
  }),
  "no such directory": refusal(sh("true", { directory: `${folder}/none` })),
  "a NUL": refusal(sh("true", {}, "a\0b")),
  "too long": refusal(sh("true", {}, "x".repeat(200_000))),
  status: runProgram(sh("exit 42")),
  signal: runProgram(sh("kill -9 $$")),
  "both outputs": outputOf(sh("echo out; echo err >&2"), { errors: true }).output,
  "large output": outputOf(sh("head -c 1000000 /dev/zero | tr '\\0' x")).output.length,
};

function sessionOf(pid: number): string {
  return output(sh(`set -- $(cat /proc/${pid}/stat); echo $6`)).trim();
}

// descriptors change places: 0 and 1 are swapped, one stands twice
const [first, firstEnd] = makePipe();
const [second, secondEnd] = makePipe();
const swapped = startWatched(
  sh("echo a >&1; echo b >&2; echo c >&3; exit 3", { descriptors: ["null", firstEnd, secondEnd, firstEnd] }),
);
closeSync(firstEnd);
closeSync(secondEnd);
results["end of a watched program"] = await swapped.ended;
const text = (fd: number): string => {
  const buffer = Buffer.alloc(100);
  const read = buffer.toString("latin1", 0, readSync(fd, buffer, 0, 100, null));
  closeSync(fd);
  return read;
};
results["placed descriptors"] = [text(first), text(second)];

/** What is there already stands on another place. */
const [source, sink] = makePipe();
runProgram(sh("echo to one; echo to two >&2", { descriptors: [0, sink, 1] }));
closeSync(sink);
results["our first ones moved"] = text(source);

const before = descriptors().length;
const ends: ProgramEnd[] = [];
for (let round = 0; round < 100; round++) ends.push(await startWatched(sh(`exit ${round}`)).ended);
results["one after another"] = ends.every((end, round) => end.kind === "exit" && end.status === round);
const together = await Promise.all(
  Array.from({ length: 100 }, (_, round) => startWatched(sh(`exit ${round}`)).ended),
);
results["a hundred at a time"] = together.every((end, round) => end.kind === "exit" && end.status === round);
results["descriptors left"] = descriptors().length - before;
results["children left"] =
  output(sh(`cat /proc/${process.pid}/task/*/children`))
    .trim()
    .split(" ").length - 1;

rmSync(folder, { recursive: true });
process.stdout.write(JSON.stringify(results));
