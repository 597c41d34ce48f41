/**
 * What an intruder who owns this process would try, tried from inside its real sandbox: one log line tells what became of each attempt. Only
 * executables of the test build have this (`build --probe`). Every attempt fails also when it is allowed, with another errno.
 */

import { info } from "../log/log.ts";
import { errnoName } from "../sys/errno.ts";
import { cString, errno, ffi, library } from "../sys/ffi.ts";
import { constants } from "../sys/fs.ts";
import { callNumber, type SystemCall, thisMachine } from "../sys/system_calls.ts";

const libc = library(["libc.so.6", "libc.so"], {
  syscall: { args: ["i64", "i64", "i64", "i64", "i64", "i64"], returns: "i64" },
  close: { args: ["i32"], returns: "i32" },
});

type Argument = number | string;
type Attempt = readonly [name: string, call: SystemCall, ...args: Argument[]];

const SIGCHLD = 17;
const CLONE_FS_AND_NEWNS = 0x20200;
const SOCK_STREAM = 1;
const AT_FDCWD = -100;

const ATTEMPTS: ReadonlyArray<Attempt> = [
  ["execve", "execve", "/nonexistent/program", 0, 0],
  ["execveat", "execveat", AT_FDCWD, "/nonexistent/program", 0, 0, 0],
  ["fork", "clone", CLONE_FS_AND_NEWNS | SIGCHLD, 0, 0],
  ["vfork by clone3", "clone3", 0, 0],
  ["ptrace", "ptrace", 0xffff, 0x7fffffff, 0],
  ["read another process's memory", "process_vm_readv", 0x7fffffff, 0, 0, 0, 0],
  ["signal another process", "kill", 0x7fffffff, 0],
  ["setuid(0)", "setuid", 0],
  ["setresuid(0)", "setresuid", 0, 0, 0],
  ["chroot", "chroot", "/nonexistent/directory"],
  ["mount", "mount", 0, "/nonexistent/directory", 0, 0, 0],
  ["unshare", "unshare", 0x7f000001],
  ["bpf", "bpf", 0xffff, 0, 0],
  ["io_uring", "io_uring_setup", 0, 0],
  ["userfaultfd", "userfaultfd", 0x7fffffff],
  ["perf_event_open", "perf_event_open", 0, 0, 0, 0, 0],
  ["keyctl", "keyctl", 0xffff, 0, 0],
  ["prctl other than names", "prctl", 0x7fffffff, 0, 0, 0, 0],
  ["ioctl other than sizes", "ioctl", 0, 0x5412, 0],
  ["memfd_create", "memfd_create", 0, 0x7fffffff],
  ["unix socket", "socket", 1, SOCK_STREAM, 0],
  ["IPv4 socket", "socket", 2, SOCK_STREAM, 0],
  ["IPv6 socket", "socket", 10, SOCK_STREAM, 0],
  ["netlink socket", "socket", 16, 3, 0],
  ["packet socket", "socket", 17, 3, 0],
  ["read a file of root", "openat", AT_FDCWD, "/etc/shadow", constants.O_RDONLY, 0],
  [
    "make a file",
    "openat",
    AT_FDCWD,
    "/nonexistent/directory/file",
    constants.O_WRONLY | constants.O_CREAT,
    0o600,
  ],
  [
    "make a set-uid file",
    "openat",
    AT_FDCWD,
    "/nonexistent/directory/file",
    constants.O_RDWR | constants.O_CREAT,
    0o4755,
  ],
  ["make a file set-uid", "fchmodat", AT_FDCWD, "/nonexistent/directory/file", 0o4755, 0],
  ["make a device", "mknodat", AT_FDCWD, "/nonexistent/directory/file", 0o020600, 0],
  ["have the kernel signal another process", "fcntl", 0, 8, 1],
  ["take another process's descriptor", "pidfd_getfd", 0x7fffffff, 0, 0],
  ["enter a namespace", "setns", 0x7fffffff, 0],
  ["remove a file", "unlink", "/nonexistent/directory/file"],
  ["rename a file", "rename", "/nonexistent/directory/file", "/nonexistent/directory/other"],
  ["change an owner", "chown", "/nonexistent/directory/file", 0, 0],
];

/** `open` when the attempt succeeded or failed for another reason than the filter, which says EPERM (or that there is no such call). */
function outcome([, call, ...args]: Attempt): string {
  const machine = thisMachine();
  const number = machine === undefined ? undefined : callNumber(call, machine);
  if (number === undefined) return "absent";
  const kept = args.map((argument) => (typeof argument === "string" ? cString(argument) : argument));
  const words = kept.map((value) => (typeof value === "number" ? value : Number(ffi().ptr(value))));
  const [a = 0, b = 0, c = 0, d = 0, e = 0] = words;
  const result = Number(libc().syscall(number, a, b, c, d, e));
  if (result < 0) return errnoName(errno());
  if (call === "socket" || call === "openat") libc().close(result);
  return "done";
}

/** Logs `sandbox probe: {"execve":"EPERM",...}`. */
export function probeSandbox(): void {
  info(
    `sandbox probe: ${JSON.stringify(Object.fromEntries(ATTEMPTS.map((attempt) => [attempt[0], outcome(attempt)])))}`,
  );
}
