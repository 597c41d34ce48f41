/**
 * Builds every program as a single-file executable: `bun run build [--layout=separate|multicall] [--out=DIR] [--probe] [NAME...]`.
 * `--probe` makes executables for test/security/sandbox: each daemon tries at its start what its sandbox must deny (lib/privsep/probe.ts).
 * Only what changed is built again: a program's stamp is the hash of every source file and of the build itself.
 */
import { createHash } from "node:crypto";
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { AUTOLOAD_OFF, BUNDLE, START_COLD } from "./compile_options.ts";
import { buildDocumentation } from "./man.ts";
import { PROGRAMS, type ProgramEntry } from "./programs.ts";

const ROOT = resolve(import.meta.dirname, "..");
const BUN = process.execPath;
const PARALLEL = 3;

interface Options {
  readonly layout: "separate" | "multicall";
  readonly out: string;
  readonly names: ReadonlySet<string>;
  readonly probe: boolean;
}

function readOptions(args: ReadonlyArray<string>): Options {
  let layout: Options["layout"] = "separate";
  let out: string | undefined;
  let probe = false;
  const names = new Set<string>();
  for (const argument of args) {
    if (argument === "--layout=separate" || argument === "--layout=multicall")
      layout = argument.slice(9) as Options["layout"];
    else if (argument === "--probe") probe = true;
    else if (argument.startsWith("--out=")) out = resolve(argument.slice(6));
    else if (PROGRAMS.some((program) => program.name === argument)) names.add(argument);
    else {
      console.error(`build: unknown argument ${argument}`);
      process.exit(64);
    }
  }
  const folder = probe ? "dist-probe" : layout === "separate" ? "dist" : "dist-multicall";
  return { layout, out: out ?? join(ROOT, folder), names, probe };
}

const BUILD_FILES = ["packaging/build.ts", "packaging/compile_options.ts", "packaging/programs.ts"];

/** Hash of everything that goes into an executable besides its own folder: lib/, the way it is built, the locked dependencies. */
function sourceHash(folders: ReadonlyArray<string>): string {
  const hash = createHash("sha256");
  const add = (path: string): void => {
    for (const entry of readdirSync(path, { withFileTypes: true }).sort((a, b) =>
      a.name < b.name ? -1 : 1,
    )) {
      const child = join(path, entry.name);
      if (entry.isDirectory()) add(child);
      else hash.update(relative(ROOT, child)).update("\0").update(readFileSync(child)).update("\0");
    }
  };
  for (const folder of folders) if (existsSync(join(ROOT, folder))) add(join(ROOT, folder));
  for (const file of ["package-lock.json", "tsconfig.json", ...BUILD_FILES])
    hash.update(readFileSync(join(ROOT, file)));
  return hash.update(Bun.version).digest("hex");
}

const launcher = (body: string): string =>
  `import { launch } from ${JSON.stringify(join(ROOT, "lib/daemon/program.ts"))};\n${body}`;
const mainOf = (name: string): string => JSON.stringify(join(ROOT, "cmd", name, "main.ts"));

const singleEntry = (name: string): string =>
  launcher(`import { main } from ${mainOf(name)};\nawait launch(main);\n`);

/** Picks the program by the name of the file (a link such as sendmail.postfix leads to it), else by the name under which it was started. */
function multicallEntry(programs: ReadonlyArray<ProgramEntry>): string {
  const cases = programs.map(
    (
      program,
    ) => `  ${[program.name, ...(program.links ?? [])].map((name) => `case ${JSON.stringify(name)}:`).join(" ")}
    await launch((await import(${mainOf(program.name)})).main); break;`,
  );
  return launcher(`const baseName = (path) => path.slice(path.lastIndexOf("/") + 1);
const file = baseName(process.execPath);
const name = ${JSON.stringify(programs.flatMap((program) => [program.name, ...(program.links ?? [])]))}.includes(file) ? file : baseName(process.argv0);
switch (name) {
${cases.join("\n")}
  default:
    console.error(\`\${name}: unknown program; this file runs as one of: ${programs.map((program) => program.name).join(" ")}\`);
    process.exit(64);
}
`);
}

/**
 * A program maps its own chunks alone. Not for a program that is its own entry: a chunk that it loads later would wait for the end of the entry,
 * which waits for the chunk.
 */
const SPLIT = ["--splitting"];

async function compile(entry: string, outfile: string): Promise<void> {
  const temporary = `${outfile}.new`;
  const child = Bun.spawn({
    cmd: [
      BUN,
      "build",
      "--compile",
      ...START_COLD,
      ...BUNDLE,
      ...(options.layout === "multicall" ? SPLIT : []),
      `--define=SANDBOX_PROBE=${options.probe}`,
      ...AUTOLOAD_OFF,
      "--outfile",
      temporary,
      entry,
    ],
    cwd: ROOT,
    stdout: "pipe",
    stderr: "pipe",
  });
  const [output, errors, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (status !== 0) throw new Error(`building ${outfile} failed:\n${output}${errors}`);
  renameSync(temporary, outfile);
}

function relink(directory: string, program: ProgramEntry, link: (name: string) => void): void {
  for (const name of program.links ?? []) {
    rmSync(join(directory, name), { force: true });
    link(name);
  }
}

async function buildSeparate(options: Options): Promise<void> {
  const shared = sourceHash(["lib"]);
  const queue = PROGRAMS.filter((program) => options.names.size === 0 || options.names.has(program.name));
  const work = join(options.out, ".build");
  mkdirSync(work, { recursive: true });
  let built = 0;
  const worker = async (): Promise<void> => {
    for (let program = queue.shift(); program !== undefined; program = queue.shift()) {
      const directory = join(options.out, program.directory);
      mkdirSync(directory, { recursive: true });
      const outfile = join(directory, program.name);
      const stampFile = join(work, `${program.name}.stamp`);
      const stamp = `${shared}${sourceHash([`cmd/${program.name}`])}${options.probe}`;
      if (existsSync(outfile) && existsSync(stampFile) && readFileSync(stampFile, "utf8") === stamp) continue;
      const entry = join(work, `${program.name}.ts`);
      writeFileSync(entry, singleEntry(program.name));
      await compile(entry, outfile);
      relink(directory, program, (link) => linkSync(outfile, join(directory, link)));
      writeFileSync(stampFile, stamp);
      built++;
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
  await buildDocumentation(options.out);
  console.log(`build: ${built} programs built into ${relative(process.cwd(), options.out) || "."}`);
}

async function buildMulticall(options: Options): Promise<void> {
  const work = join(options.out, ".build");
  mkdirSync(work, { recursive: true });
  const stampFile = join(work, "multicall.stamp");
  const stamp = `${sourceHash(["lib", "cmd"])}${options.probe}`;
  const file = join(options.out, "libexec", "posthaste");
  mkdirSync(dirname(file), { recursive: true });
  if (existsSync(file) && existsSync(stampFile) && readFileSync(stampFile, "utf8") === stamp) return;
  const entry = join(work, "multicall.ts");
  writeFileSync(entry, multicallEntry(PROGRAMS));
  await compile(entry, file);
  for (const program of PROGRAMS) {
    const directory = join(options.out, program.directory);
    mkdirSync(directory, { recursive: true });
    for (const name of [program.name, ...(program.links ?? [])]) {
      rmSync(join(directory, name), { force: true });
      linkSync(file, join(directory, name));
    }
  }
  writeFileSync(stampFile, stamp);
  console.log(
    `build: one executable, ${PROGRAMS.length} programs, in ${relative(process.cwd(), options.out) || "."}`,
  );
}

const options = readOptions(process.argv.slice(2));
await (options.layout === "separate" ? buildSeparate(options) : buildMulticall(options));
