/**
 * Programs of a real Postfix that run on this machine beside ours: copies of Debian's, pointed at the libraries of the folder that they were
 * installed in (design.md, "What is given"). The tests that need them are skipped where they cannot be had.
 */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { basename, join } from "node:path";
import { REFERENCE } from "../../../packaging/debian_packages.ts";

const PATCHED = `${REFERENCE}-programs`;
const LIBRARIES = `${REFERENCE}/usr/lib/x86_64-linux-gnu`;
const POSTFIX_LIBRARIES = `${REFERENCE}/usr/lib/postfix`;
const INTERPRETER = `${LIBRARIES}/ld-linux-x86-64.so.2`;
const COMMANDS = [
  "postalias",
  "postcat",
  "postconf",
  "postdrop",
  "postfix",
  "postkick",
  "postlock",
  "postlog",
  "postmap",
  "postmulti",
  "postqueue",
  "postsuper",
  "sendmail",
  "smtp-sink",
  "smtp-source",
];

export interface Reference {
  /** Folder with the daemons. */
  readonly libexec: string;
  /** Folder with the commands. */
  readonly sbin: string;
  /** Folder with the libraries. */
  readonly libraries: string;
}

/** The real programs; undefined, with the reason, when they cannot be had here. */
export function reference(): Reference | { readonly missing: string } {
  if (process.getuid?.() !== 0) return { missing: "needs root" };
  if (process.arch !== "x64") return { missing: "prepared for x86-64 only" };
  if (!existsSync(`${REFERENCE}/usr/lib/postfix/sbin/master`))
    return { missing: "no real Postfix installed" };
  if (!existsSync("/usr/bin/patchelf")) return { missing: "no patchelf" };
  if (!existsSync(join(PATCHED, "sbin/postmulti"))) prepare();
  adoptLibraries(PATCHED);
  return { libexec: join(PATCHED, "libexec"), sbin: join(PATCHED, "sbin"), libraries: join(PATCHED, "lib") };
}

/** Copies the libraries that are not there yet: table types come as packages of their own. */
function adoptLibraries(folder: string): void {
  for (const name of readdirSync(POSTFIX_LIBRARIES).filter((file) => file.endsWith(".so"))) {
    const target = join(folder, "lib", name);
    if (existsSync(target)) continue;
    copyFileSync(join(POSTFIX_LIBRARIES, name), `${target}.new`);
    execFileSync("patchelf", ["--remove-rpath", `${target}.new`]);
    renameSync(`${target}.new`, target);
  }
}

/** Lines of dynamicmaps.cf for the table types that are packages of their own; `folder` of Reference.libraries. */
export function dynamicMaps(libraries: string): string {
  return readFileSync(`${REFERENCE}/usr/share/postfix/dynamicmaps.cf`, "latin1")
    .concat(
      ...readdirSync(`${REFERENCE}/usr/share/postfix/dynamicmaps.cf.d`).map((name) =>
        readFileSync(`${REFERENCE}/usr/share/postfix/dynamicmaps.cf.d/${name}`, "latin1"),
      ),
    )
    .replace(
      /^(\w+)\s+(\S+\.so)/gm,
      (_, type: string, library: string) => `${type} ${join(libraries, basename(library))}`,
    );
}

function prepare(): void {
  const partial = `${PATCHED}.partial`;
  rmSync(partial, { recursive: true, force: true });
  for (const folder of ["lib", "libexec", "sbin"]) mkdirSync(join(partial, folder), { recursive: true });
  adoptLibraries(partial);
  const runPath = `${join(PATCHED, "lib")}:${LIBRARIES}`;
  const adopt = (source: string, target: string): void => {
    copyFileSync(source, target);
    chmodSync(target, 0o755);
    if (!isElf(source)) return;
    execFileSync("patchelf", [
      "--set-interpreter",
      INTERPRETER,
      "--force-rpath",
      "--set-rpath",
      runPath,
      target,
    ]);
  };
  const daemons = join(POSTFIX_LIBRARIES, "sbin");
  for (const name of readdirSync(daemons))
    if (statSync(join(daemons, name)).isFile()) adopt(join(daemons, name), join(partial, "libexec", name));
  for (const name of COMMANDS) {
    const source = ["usr/sbin", "usr/lib/postfix/sbin", "usr/bin"]
      .map((folder) => join(REFERENCE, folder, name))
      .find((path) => existsSync(path));
    if (source !== undefined) adopt(source, join(partial, "sbin", name));
  }
  rmSync(PATCHED, { recursive: true, force: true });
  renameSync(partial, PATCHED);
}

const isElf = (path: string): boolean =>
  execFileSync("head", ["-c", "4", path]).toString("latin1") === "\x7fELF";
