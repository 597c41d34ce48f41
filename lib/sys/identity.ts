/** Users, groups and the identity of this process. */

import { errorCode, errorText, SysError } from "./errno.ts";
import { checked, cString, ffi, library, type Pointer, stringAt } from "./ffi.ts";
import { closeSync, constants, openSync } from "./fs.ts";

const libc = library(["libc.so.6", "libc.so"], {
  getpwnam_r: { args: ["ptr", "ptr", "ptr", "u64", "ptr"], returns: "i32" },
  getpwuid_r: { args: ["u32", "ptr", "ptr", "u64", "ptr"], returns: "i32" },
  getgrnam_r: { args: ["ptr", "ptr", "ptr", "u64", "ptr"], returns: "i32" },
  getgrgid_r: { args: ["u32", "ptr", "ptr", "u64", "ptr"], returns: "i32" },
  getgrouplist: { args: ["ptr", "u32", "ptr", "ptr"], returns: "i32" },
});
const changes = library(["libc.so.6", "libc.so"], {
  setgroups: { args: ["u64", "ptr"], returns: "i32" },
  setgid: { args: ["u32"], returns: "i32" },
  setuid: { args: ["u32"], returns: "i32" },
  setegid: { args: ["u32"], returns: "i32" },
  seteuid: { args: ["u32"], returns: "i32" },
  chroot: { args: ["ptr"], returns: "i32" },
});

export interface User {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly gecos: string;
  readonly home: string;
  readonly shell: string;
}
export interface Group {
  readonly name: string;
  readonly gid: number;
}

const BUFFER_START = 4096;
const BUFFER_LIMIT = 1 << 20;
const ERANGE = 34;
/** "No such entry" as the various name services say it. */
const ABSENT: ReadonlySet<number> = new Set([0, 1, 2, 3, 9]);

function lookup<T>(
  call: string,
  subject: string,
  run: (entry: Pointer, buffer: Pointer, size: number, result: Pointer) => number,
  read: (answer: Answer) => T,
): T | undefined {
  const { ptr } = ffi();
  for (let size = BUFFER_START; size <= BUFFER_LIMIT; size *= 4) {
    const entry = Buffer.alloc(64);
    const text = Buffer.alloc(size);
    const result = new BigUint64Array(1);
    const code = run(ptr(entry), ptr(text), size, ptr(result));
    if (code === ERANGE) continue;
    if (!ABSENT.has(code)) throw new SysError(call, code, subject);
    return result[0] === 0n ? undefined : read(new Answer(entry, text));
  }
  throw new SysError(call, ERANGE, subject);
}

/** A structure, and the memory that its pointers lead into. They are followed in that memory: nothing else keeps it from being collected. */
class Answer {
  readonly #memory: Buffer;
  readonly #start: number;

  constructor(
    readonly entry: Buffer,
    memory: Buffer,
  ) {
    this.#memory = memory;
    this.#start = Number(ffi().ptr(memory));
  }

  /** The byte string behind the pointer at `offset` of the structure. */
  string(offset: number): string {
    return this.#stringOf(this.entry.readBigUInt64LE(offset));
  }

  /** The byte strings of a NULL-terminated list of pointers. */
  strings(offset: number): string[] {
    const found: string[] = [];
    const list = Number(this.entry.readBigUInt64LE(offset)) - this.#start;
    if (list < 0) return found;
    for (let at = list; at + 8 <= this.#memory.length; at += 8) {
      const pointer = this.#memory.readBigUInt64LE(at);
      if (pointer === 0n) break;
      found.push(this.#stringOf(pointer));
    }
    return found;
  }

  #stringOf(pointer: bigint): string {
    const at = Number(pointer) - this.#start;
    // a name service may also give texts of its own, which stay
    if (at < 0 || at >= this.#memory.length) return stringAt(Number(pointer) as Pointer);
    return this.#memory.toString("latin1", at, this.#memory.indexOf(0, at));
  }
}

const readUser = (answer: Answer): User => ({
  name: answer.string(0),
  uid: answer.entry.readUInt32LE(16),
  gid: answer.entry.readUInt32LE(20),
  gecos: answer.string(24),
  home: answer.string(32),
  shell: answer.string(40),
});
const readGroup = (answer: Answer): Group => ({
  name: answer.string(0),
  gid: answer.entry.readUInt32LE(16),
});

/** The password entry of a login name; undefined when there is none. Throws SysError when the name service fails. */
export const lookupUser = (name: string): User | undefined =>
  name.includes("\0")
    ? undefined
    : lookup(
        "getpwnam",
        name,
        (e, b, n, r) => libc().getpwnam_r(ffi().ptr(cString(name)), e, b, n, r),
        readUser,
      );
export const lookupUserById = (uid: number): User | undefined =>
  lookup("getpwuid", String(uid), (e, b, n, r) => libc().getpwuid_r(uid, e, b, n, r), readUser);
export const lookupGroup = (name: string): Group | undefined =>
  name.includes("\0")
    ? undefined
    : lookup(
        "getgrnam",
        name,
        (e, b, n, r) => libc().getgrnam_r(ffi().ptr(cString(name)), e, b, n, r),
        readGroup,
      );
export const lookupGroupById = (gid: number): Group | undefined =>
  lookup("getgrgid", String(gid), (e, b, n, r) => libc().getgrgid_r(gid, e, b, n, r), readGroup);

/**
 * Why "no such entry" may be wrong: the name service passes over a file that it cannot open, and says what the next source says. Undefined when there is
 * no doubt: the file can be opened, or there is none and root is known all the same.
 */
export function doubtOf(file: "/etc/passwd" | "/etc/group", root: () => unknown): string | undefined {
  try {
    closeSync(openSync(file, constants.O_RDONLY));
    return undefined;
  } catch (error) {
    if (errorCode(error) !== "ENOENT" || root() === undefined) return errorText(error);
    return undefined;
  }
}

/** All groups of a user, the primary one included (initgroups()). */
export function groupsOf(name: string, gid: number): ReadonlyArray<number> {
  const { ptr } = ffi();
  for (let size = 64; size <= 65536; size *= 8) {
    const groups = new Int32Array(size);
    const count = new Int32Array([size]);
    if (libc().getgrouplist(ptr(cString(name)), gid, ptr(groups), ptr(count)) >= 0)
      return [...groups.subarray(0, count[0])];
  }
  throw new SysError("getgrouplist", ERANGE, name);
}

export const realUid = (): number => process.getuid?.() ?? 0;
export const effectiveUid = (): number => process.geteuid?.() ?? 0;
export const realGid = (): number => process.getgid?.() ?? 0;
export const effectiveGid = (): number => process.getegid?.() ?? 0;

export function setGroups(groups: ReadonlyArray<number>): void {
  const list = Uint32Array.from(groups.length === 0 ? [0] : groups);
  checked("setgroups", groups.join(","), changes().setgroups(groups.length, ffi().ptr(list)));
}
export const setGid = (gid: number): void => {
  checked("setgid", String(gid), changes().setgid(gid));
};
export const setUid = (uid: number): void => {
  checked("setuid", String(uid), changes().setuid(uid));
};
export const setEffectiveGid = (gid: number): void => {
  checked("setegid", String(gid), changes().setegid(gid));
};
export const setEffectiveUid = (uid: number): void => {
  checked("seteuid", String(uid), changes().seteuid(uid));
};
export const chroot = (directory: string): void => {
  checked("chroot", directory, changes().chroot(ffi().ptr(cString(directory))));
};

/** System call numbers; there are no library functions for these calls (glibc's change all threads, by a signal to each of them). */
const THREAD_CALLS: Readonly<
  Record<string, { readonly setgroups: number; readonly setresuid: number; readonly setresgid: number }>
> = {
  x64: { setgroups: 116, setresuid: 117, setresgid: 119 },
  arm64: { setgroups: 159, setresuid: 147, setresgid: 149 },
};
const threadCalls = library(["libc.so.6", "libc.so"], {
  syscall: { args: ["i64", "i64", "i64", "i64"], returns: "i32" },
});

/**
 * Changes the effective ids of the calling thread alone, on which all synchronous file calls run: a third of a system call's
 * cost for each thread that glibc would have to interrupt. The saved ids stay root's, and so do the real ones unless `real` is set: what the
 * thread executes then cannot go back, since execve() copies the effective ids over the saved ones. credentials(7)
 */
export function setThreadIdentity(
  uid: number,
  gid: number,
  /** Undefined: they stay as they are. */
  groups: ReadonlyArray<number> | undefined,
  real = false,
): void {
  const calls = THREAD_CALLS[process.arch];
  if (calls === undefined) {
    setEffectiveUid(0);
    if (groups !== undefined) setGroups(groups);
    setEffectiveGid(gid);
    if (uid !== 0) setEffectiveUid(uid);
    return;
  }
  const call = (name: string, number: number, ...args: readonly [number, number | Pointer, number]): void => {
    checked(name, String(uid), threadCalls().syscall(number, ...args));
  };
  // only root may change groups
  if (effectiveUid() !== 0) call("setresuid", calls.setresuid, -1, 0, -1);
  if (groups !== undefined) {
    const list = Uint32Array.from(groups.length === 0 ? [0] : groups);
    call("setgroups", calls.setgroups, groups.length, ffi().ptr(list), 0);
  }
  call("setresgid", calls.setresgid, real ? gid : -1, gid, -1);
  if (uid !== 0 || real) call("setresuid", calls.setresuid, real ? uid : -1, uid, -1);
}

/** The passwd(5) line of a login name, password field included; undefined when there is none. */
export const passwdLine = (name: string): string | undefined =>
  name.includes("\0")
    ? undefined
    : lookup(
        "getpwnam",
        name,
        (e, b, n, r) => libc().getpwnam_r(ffi().ptr(cString(name)), e, b, n, r),
        (answer) => {
          const user = readUser(answer);
          return [user.name, answer.string(8), user.uid, user.gid, user.gecos, user.home, user.shell].join(
            ":",
          );
        },
      );

/** The group(5) line of a group name; undefined when there is none. */
export const groupLine = (name: string): string | undefined =>
  name.includes("\0")
    ? undefined
    : lookup(
        "getgrnam",
        name,
        (e, b, n, r) => libc().getgrnam_r(ffi().ptr(cString(name)), e, b, n, r),
        (answer) =>
          `${answer.string(0)}:${answer.string(8)}:${answer.entry.readUInt32LE(16)}:${answer.strings(24).join(",")}`,
      );
