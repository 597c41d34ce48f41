/** Replacing this process by another program. */
import { closeSync } from "node:fs";
import { SysError } from "./errno.ts";
import { cString, errno, ffi, library } from "./ffi.ts";

const libc = library(["libc.so.6", "libc.so"], {
  execve: { args: ["ptr", "ptr", "ptr"], returns: "i32" },
  dup2: { args: ["i32", "i32"], returns: "i32" },
});

const descriptors = library(["libc.so.6", "libc.so"], {
  close_range: { args: ["u32", "u32", "i32"], returns: "i32" },
});
const CLOSE_RANGE_CLOEXEC = 4;

/** execve(): returns only by throwing. The new program has descriptors 0 to 2 and no other. */
export function replaceProcess(
  path: string,
  argv: ReadonlyArray<string>,
  environment: ReadonlyMap<string, string>,
): never {
  const kept: Buffer[] = [];
  const words = vector(argv, kept);
  const variables = vector(
    [...environment].map(([name, value]) => `${name}=${value}`),
    kept,
  );
  descriptors().close_range(3, 0xffffffff, CLOSE_RANGE_CLOEXEC);
  libc().execve(ffi().ptr(cString(path)), ffi().ptr(words), ffi().ptr(variables));
  const code = errno();
  kept.length = 0;
  throw new SysError("execve", code, path);
}

const spawning = library(["libc.so.6", "libc.so"], {
  posix_spawnp: { args: ["ptr", "ptr", "ptr", "ptr", "ptr", "ptr"], returns: "i32" },
  posix_spawnattr_init: { args: ["ptr"], returns: "i32" },
  posix_spawnattr_setflags: { args: ["ptr", "i32"], returns: "i32" },
  posix_spawnattr_setsigdefault: { args: ["ptr", "ptr"], returns: "i32" },
  sigfillset: { args: ["ptr"], returns: "i32" },
  waitpid: { args: ["i32", "ptr", "i32"], returns: "i32" },
});
const SPAWN_SETSIGDEF = 4;
const EINTR = 4;
/** More than posix_spawnattr_t and sigset_t have anywhere. */
const STRUCTURE_SIZE = 1024;

/** Runs a program, found in PATH, with default signals and waits for its end. Its status; undefined when a signal ended it. Throws SysError. */
export function runProgram(
  argv: ReadonlyArray<string>,
  environment: ReadonlyMap<string, string>,
): number | undefined {
  const { ptr } = ffi();
  const kept: Buffer[] = [];
  const words = vector(argv, kept);
  const variables = vector(
    [...environment].map(([name, value]) => `${name}=${value}`),
    kept,
  );
  const attributes = Buffer.alloc(STRUCTURE_SIZE);
  const signals = Buffer.alloc(STRUCTURE_SIZE);
  const libc = spawning();
  libc.posix_spawnattr_init(ptr(attributes));
  libc.sigfillset(ptr(signals));
  libc.posix_spawnattr_setsigdefault(ptr(attributes), ptr(signals));
  libc.posix_spawnattr_setflags(ptr(attributes), SPAWN_SETSIGDEF);
  const pid = new Int32Array(1);
  const program = cString(argv[0] ?? "");
  const code = libc.posix_spawnp(ptr(pid), ptr(program), null, ptr(attributes), ptr(words), ptr(variables));
  kept.length = 0;
  if (code !== 0) throw new SysError("execvp", code, argv[0] ?? "");
  const status = new Int32Array(1);
  while (libc.waitpid(pid[0] ?? 0, ptr(status), 0) < 0) {
    const problem = errno();
    if (problem !== EINTR) throw new SysError("waitpid", problem);
  }
  const ended = status[0] ?? 0;
  return (ended & 0x7f) === 0 ? (ended >> 8) & 0xff : undefined;
}

/** The pointers of an argv or envp; `kept` holds what they point to. */
function vector(texts: ReadonlyArray<string>, kept: Buffer[]): BigUint64Array {
  const pointers = new BigUint64Array(texts.length + 1);
  texts.forEach((text, index) => {
    const bytes = cString(text);
    kept.push(bytes);
    pointers[index] = BigInt(ffi().ptr(bytes));
  });
  return pointers;
}

/** Makes `target` another name of `fd`, and closes `fd`. */
export function moveDescriptor(fd: number, target: number): void {
  if (fd === target) return;
  if (libc().dup2(fd, target) < 0) throw new SysError("dup2", errno(), String(fd));
  closeSync(fd);
}
