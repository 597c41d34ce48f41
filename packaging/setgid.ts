/**
 * The set-group-ID variant of an installed layout: `bun run packaging/setgid.ts --programs=DIR [--group=NAME]`, as root.
 * The real postdrop, postqueue and postlog go to DIR/libexec/; in DIR/sbin/ stands, set-group-ID, a small C program for each that starts
 * the real one by its absolute path with nothing of the caller's environment (setgid/launcher.c). It may be run again after an upgrade.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, chownSync, lstatSync, realpathSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { PROGRAMS } from "./programs.ts";

const LAUNCHER = resolve(import.meta.dirname, "setgid/launcher.c");
const DEFAULT_GROUP = "postdrop";
const MODE = 0o2755;
const SETGID = 0o2000;
const STICKY = 0o1000;
const WRITABLE_BY_OTHERS = 0o022;

function die(text: string): never {
  console.error(`setgid: ${text}`);
  process.exit(1);
}

function readOptions(args: ReadonlyArray<string>): { programs: string; group: string } {
  let programs: string | undefined;
  let group = DEFAULT_GROUP;
  for (const argument of args) {
    if (argument.startsWith("--programs=")) programs = argument.slice("--programs=".length);
    else if (argument.startsWith("--group=")) group = argument.slice("--group=".length);
    else die(`unknown argument ${argument}; usage: setgid --programs=DIR [--group=NAME]`);
  }
  if (programs === undefined || programs === "") die("usage: setgid --programs=DIR [--group=NAME]");
  return { programs: realpathSync(programs), group };
}

function groupId(name: string): number {
  const { status, stdout } = spawnSync("getent", ["group", name], { encoding: "utf8" });
  const id = Number(stdout?.split(":")[2]);
  if (status !== 0 || !Number.isInteger(id)) die(`unknown group ${name}`);
  if (id === 0) die(`group ${name} is privileged`);
  return id;
}

/** Nobody but root can put another program in the place of one whose path is compiled in. */
function mustBeRoots(path: string): void {
  for (let folder = path; ; folder = dirname(folder)) {
    const { uid, mode } = lstatSync(folder);
    if (uid !== 0) die(`${folder} is not owned by root`);
    if ((mode & WRITABLE_BY_OTHERS) !== 0 && (mode & STICKY) === 0)
      die(`${folder} can be written by others than root`);
    if (folder === dirname(folder)) return;
  }
}

function compile(program: string, outfile: string): void {
  if (/["\\\n]/.test(program)) die(`${program}: a path that cannot be compiled in`);
  const args = [
    "-static",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    `-DPROGRAM="${program}"`,
    "-o",
    outfile,
    LAUNCHER,
  ];
  const { error, status, stderr } = spawnSync("cc", args, { encoding: "utf8" });
  if (error !== undefined)
    die(`no C compiler: cc cannot be run (${error.message}); on Debian: apt-get install gcc libc6-dev`);
  if (status !== 0) die(`cc ${args.join(" ")}:\n${stderr}`);
}

/** The file that carries the privilege appears under its name only when it is complete. */
function install(name: string, programs: string, group: number): void {
  const face = join(programs, "sbin", name);
  const real = join(programs, "libexec", name);
  const isInstalled = (statSync(face, { throwIfNoEntry: false })?.mode ?? 0) & SETGID;
  const source = isInstalled ? real : face;
  if (!lstatSync(source, { throwIfNoEntry: false })?.isFile()) die(`${source} is not there`);
  const temporary = `${face}.new`;
  rmSync(temporary, { force: true });
  compile(real, temporary);
  chownSync(temporary, 0, group);
  chmodSync(temporary, MODE);
  if (!isInstalled) renameSync(face, real);
  renameSync(temporary, face);
}

if (process.getuid?.() !== 0) die("needs root");
const { programs, group } = readOptions(process.argv.slice(2));
const id = groupId(group);
for (const folder of ["sbin", "libexec"]) mustBeRoots(join(programs, folder));
const names = PROGRAMS.filter((program) => program.setgid === true).map((program) => program.name);
for (const name of names) install(name, programs, id);
console.log(`setgid: ${names.join(" ")} in ${join(programs, "sbin")} run with the group ${group}`);
