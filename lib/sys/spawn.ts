/** Starting other programs: their words, environment and directory are byte strings, and they have the descriptors that are named. */

import { errnoName, errnoNumber, SysError } from "./errno.ts";
import { execVectors } from "./exec.ts";
import { checked, cString, ffi, library } from "./ffi.ts";
import { duplicateAbove } from "./files.ts";
import { closeSync, constants } from "./fs.ts";

const libc = library(["libc.so.6", "libc.so"], {
  posix_spawn: { args: ["ptr", "ptr", "ptr", "ptr", "ptr", "ptr"], returns: "i32" },
  posix_spawnattr_init: { args: ["ptr"], returns: "i32" },
  posix_spawnattr_destroy: { args: ["ptr"], returns: "i32" },
  posix_spawnattr_setflags: { args: ["ptr", "i32"], returns: "i32" },
  posix_spawnattr_setsigdefault: { args: ["ptr", "ptr"], returns: "i32" },
  posix_spawnattr_setsigmask: { args: ["ptr", "ptr"], returns: "i32" },
  posix_spawn_file_actions_init: { args: ["ptr"], returns: "i32" },
  posix_spawn_file_actions_destroy: { args: ["ptr"], returns: "i32" },
  posix_spawn_file_actions_adddup2: { args: ["ptr", "i32", "i32"], returns: "i32" },
  posix_spawn_file_actions_addopen: { args: ["ptr", "i32", "ptr", "i32", "u32"], returns: "i32" },
  posix_spawn_file_actions_addchdir_np: { args: ["ptr", "ptr"], returns: "i32" },
  posix_spawn_file_actions_addclosefrom_np: { args: ["ptr", "i32"], returns: "i32" },
  sigemptyset: { args: ["ptr"], returns: "i32" },
  sigdelset: { args: ["ptr", "i32"], returns: "i32" },
});

const SPAWN_SETSIGDEF = 4;
const SPAWN_SETSIGMASK = 8;
const SPAWN_SETSID = 0x80;
const SIGPIPE = 13;
/** More than posix_spawnattr_t, posix_spawn_file_actions_t and sigset_t have anywhere. */
const STRUCTURE_SIZE = 1024;
/** execvp() without PATH. */
const DEFAULT_PATH = "/bin:/usr/bin";

export interface Start {
  /** The program: a path, or a name to look for in the PATH of its environment. */
  readonly path: string;
  readonly argv: ReadonlyArray<string>;
  /** Complete environment. */
  readonly environment: ReadonlyMap<string, string>;
  /** Directory; default the present one. */
  readonly directory?: string;
  /** A session and process group of its own. */
  readonly session?: boolean;
  /** SIGPIPE stays ignored when it is ignored here; all other signals, and by default this one, have their default action. */
  readonly keepIgnoringPipe?: boolean;
  /** What becomes descriptor 0, 1, 2 and so on, no others are left; default our own first three. They are not closed here. */
  readonly descriptors?: ReadonlyArray<number | "null">;
}

/** Starts a program with the ids of the calling thread; its process id. Throws SysError: of the directory too, when that cannot be entered. */
export function startProgram(start: Start): number {
  const { path, argv, environment } = start;
  const candidates = path.includes("/")
    ? [path]
    : (environment.get("PATH") ?? DEFAULT_PATH).split(":").map((folder) => `${folder || "."}/${path}`);
  let failure = errnoNumber("ENOENT");
  for (const candidate of candidates) {
    let outcome = attempt(candidate, argv, start);
    // a script without "#!": execvp() gives it to the shell
    if (outcome.code === errnoNumber("ENOEXEC"))
      outcome = attempt("/bin/sh", ["sh", candidate, ...argv.slice(1)], start);
    if (outcome.code === 0) return outcome.pid;
    if (!PASSED_OVER.includes(errnoName(outcome.code))) throw new SysError("execvp", outcome.code, path);
    if (outcome.code === errnoNumber("EACCES") || failure !== errnoNumber("EACCES")) failure = outcome.code;
  }
  throw new SysError("execvp", failure, path);
}

/** For these execvp() tries the next directory of PATH. */
const PASSED_OVER: ReadonlyArray<string> = ["ENOENT", "ENOTDIR", "EACCES", "ESTALE", "ETIMEDOUT"];

function attempt(
  path: string,
  argv: ReadonlyArray<string>,
  start: Start,
): { readonly code: number; readonly pid: number } {
  const { ptr } = ffi();
  const { directory, descriptors = [0, 1, 2] } = start;
  const { posix_spawn, ...calls } = libc();
  const program = cString(path);
  const vectors = execVectors(argv, start.environment);
  const folder = directory === undefined ? undefined : cString(directory);
  const attributes = Buffer.alloc(STRUCTURE_SIZE);
  const actions = Buffer.alloc(STRUCTURE_SIZE);
  const moved: number[] = [];
  calls.posix_spawnattr_init(ptr(attributes));
  calls.posix_spawn_file_actions_init(ptr(actions));
  try {
    setSignals(attributes, start);
    descriptors.forEach((descriptor, target) => {
      if (descriptor === "null") {
        const opened = calls.posix_spawn_file_actions_addopen(
          ptr(actions),
          target,
          ptr(NULL_DEVICE),
          constants.O_RDWR,
          0,
        );
        check("addopen", opened);
        return;
      }
      // one that an earlier step overwrites is kept above all of them
      const source = descriptor < target ? duplicateAbove(descriptor, descriptors.length) : descriptor;
      if (source !== descriptor) moved.push(source);
      check("adddup2", calls.posix_spawn_file_actions_adddup2(ptr(actions), source, target));
    });
    check("addclosefrom", calls.posix_spawn_file_actions_addclosefrom_np(ptr(actions), descriptors.length));
    if (folder !== undefined)
      check("addchdir", calls.posix_spawn_file_actions_addchdir_np(ptr(actions), ptr(folder)));
    const pid = new Int32Array(1);
    const code: number = posix_spawn(
      ptr(pid),
      ptr(program),
      ptr(actions),
      ptr(attributes),
      ptr(vectors.words),
      ptr(vectors.variables),
    );
    return { code, pid: pid[0] ?? 0 };
  } finally {
    vectors.release();
    for (const descriptor of moved) closeSync(descriptor);
    calls.posix_spawn_file_actions_destroy(ptr(actions));
    calls.posix_spawnattr_destroy(ptr(attributes));
  }
}

const NULL_DEVICE = Buffer.from("/dev/null\0", "latin1");

function setSignals(attributes: Buffer, { session, keepIgnoringPipe }: Start): void {
  const { ptr } = ffi();
  const calls = libc();
  // all of them: sigfillset() leaves out the C library's own two, which would then be ignored
  const defaults = Buffer.alloc(STRUCTURE_SIZE, 0xff);
  const blocked = Buffer.alloc(STRUCTURE_SIZE);
  if (keepIgnoringPipe === true) checked("sigdelset", "", calls.sigdelset(ptr(defaults), SIGPIPE));
  checked("sigemptyset", "", calls.sigemptyset(ptr(blocked)));
  check("setsigdefault", calls.posix_spawnattr_setsigdefault(ptr(attributes), ptr(defaults)));
  check("setsigmask", calls.posix_spawnattr_setsigmask(ptr(attributes), ptr(blocked)));
  const flags = SPAWN_SETSIGDEF | SPAWN_SETSIGMASK | (session === true ? SPAWN_SETSID : 0);
  check("setflags", calls.posix_spawnattr_setflags(ptr(attributes), flags));
}

/** These functions return an errno. */
function check(what: string, code: number): void {
  if (code !== 0) throw new SysError(`posix_spawn: ${what}`, code);
}
