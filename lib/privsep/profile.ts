/**
 * What a daemon may do once it has started. Each main.ts declares its own; the filter of system calls derives from it. What a profile does
 * not name fails with EPERM, in every thread, for good.
 */
import { constants } from "../sys/fs.ts";
import type { Filter, Rule, Verdict } from "../sys/seccomp.ts";
import type { SystemCall } from "../sys/system_calls.ts";

export interface Profile {
  /** Internet sockets of its own: connections to servers, DNS. Inherited and accepted ones, and unix sockets, it has anyway. */
  readonly internet?: boolean;
  /** Files: `"read"` opens none for writing; `"write"` also makes, renames and removes them. */
  readonly files: "read" | "write";
  /** Waits for changes in directories (pickup). */
  readonly watches?: boolean;
  /** Acts as other users for a moment, and gives files to them (virtual). */
  readonly actsAsUsers?: boolean;
  /**
   * Starts commands of users (local, pipe, spawn). They inherit the filter, and may need set-uid programs: so it only takes away what none of
   * them can have a use for.
   */
  readonly executes?: boolean;
}

const EPERM: Verdict = { errno: 1 };
const ENOSYS: Verdict = { errno: 38 };

/** What the runtime and every daemon need. */
const BASE = [
  ...["read", "write", "readv", "writev", "pread64", "close", "lseek", "flock", "dup", "dup3"],
  ...[
    "fstat",
    "newfstatat",
    "stat",
    "lstat",
    "statx",
    "statfs",
    "fstatfs",
    "access",
    "faccessat",
    "faccessat2",
  ],
  ...["readlink", "readlinkat", "getdents64", "getcwd", "fadvise64", "pipe2"],
  ...["mmap", "munmap", "mprotect", "mremap", "madvise", "brk", "membarrier"],
  ...[
    "futex",
    "set_robust_list",
    "get_robust_list",
    "rseq",
    "sched_yield",
    "sched_getaffinity",
    "sched_getparam",
  ],
  ...["sched_getscheduler", "exit", "exit_group", "set_tid_address", "gettid", "getpid", "getppid"],
  ...[
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "getgroups",
    "getrandom",
    "getrusage",
    "times",
    "sysinfo",
    "uname",
  ],
  ...["rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "rt_sigpending"],
  ...["sigaltstack", "restart_syscall", "getrlimit", "getpriority", "umask"],
  ...["clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "alarm"],
  ...["setitimer", "getitimer", "timerfd_create", "timerfd_settime"],
  ...["epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd2"],
  ...["poll", "ppoll", "select", "pselect6"],
  ...[
    "connect",
    "bind",
    "listen",
    "accept",
    "accept4",
    "getsockname",
    "getpeername",
    "getsockopt",
    "setsockopt",
  ],
  ...["shutdown", "sendto", "recvfrom", "sendmsg", "recvmsg", "sendmmsg", "recvmmsg"],
] as const satisfies ReadonlyArray<SystemCall>;

/** Making, changing and removing files. */
const WRITING = [
  ...[
    "pwrite64",
    "unlink",
    "unlinkat",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "mkdir",
    "mkdirat",
  ],
  ...["rmdir", "ftruncate", "truncate", "fsync", "fdatasync", "utimensat"],
  ...["fallocate", "copy_file_range", "sendfile", "chdir", "fchdir"],
] as const satisfies ReadonlyArray<SystemCall>;

const WATCHING = [
  "inotify_init1",
  "inotify_add_watch",
  "inotify_rm_watch",
] as const satisfies ReadonlyArray<SystemCall>;

/** Being somebody else for a moment. */
const ACTING = [
  ...["setresuid", "setresgid", "setuid", "setgid", "setgroups", "setreuid", "setregid"],
  ...["chown", "fchown", "fchownat", "lchown", "chdir", "fchdir"],
] as const satisfies ReadonlyArray<SystemCall>;

/** For no command that mail is given to: they change the machine, or reach into other processes' memory as root. */
const NEVER = [
  ...["mount", "umount2", "pivot_root", "move_mount", "open_tree", "fsopen", "fsmount", "fspick", "fsconfig"],
  ...[
    "mount_setattr",
    "reboot",
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
  ],
  ...[
    "swapon",
    "swapoff",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "open_by_handle_at",
    "iopl",
    "ioperm",
    "acct",
  ],
  ...[
    "quotactl",
    "settimeofday",
    "clock_settime",
    "adjtimex",
    "clock_adjtime",
    "sethostname",
    "setdomainname",
  ],
  ...["keyctl", "add_key", "request_key", "syslog", "vhangup", "io_uring_setup"],
  ...["io_uring_enter", "io_uring_register", "process_vm_readv", "process_vm_writev", "ptrace", "kcmp"],
  ...["pidfd_getfd", "setns"],
  ...["lookup_dcookie", "nfsservctl", "fanotify_init"],
] as const satisfies ReadonlyArray<SystemCall>;

/** Argument values; linux/*.h */
const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;
const CLONE_THREAD = 0x10000;
/** PR_SET_NAME and PR_GET_NAME for threads, PR_CAPBSET_READ and PR_SET_VMA for the runtime's memory, PR_SET_DUMPABLE and PR_GET_DUMPABLE. */
const PRCTL = [15, 16, 23, 0x53564d41, 4, 3] as const;
/** FIONREAD, FIONBIO, TCGETS (whether it is a terminal). */
const IOCTL = [0x541b, 0x5421, 0x5401] as const;
/** fcntl commands by which a process has the kernel signal another one: F_SETOWN, F_SETSIG, F_SETOWN_EX, F_NOTIFY. */
const F_SETOWN = 8;
const SIGNALLING = [F_SETOWN, 10, 15, 1026] as const;
const SET_ID = 0o6000;
/** S_IFCHR, and S_IFBLK has the bit too; regular files, FIFOs and sockets do not. */
const DEVICE = 0o020000;
const MAKES_A_FILE = constants.O_CREAT | 0o20000000;
const OPEN_TO_CHANGE = constants.O_WRONLY | constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC;

const allow = (call: SystemCall): Rule => ({ call, verdict: "allow" });

/** The filter of a profile. `pid`: the process itself, which alone may get signals from it. `otherwise`: what is not named. */
export function filterOf(profile: Profile, pid: number, otherwise: Verdict = EPERM): Filter {
  if (profile.executes === true)
    return {
      rules: [
        ...NEVER.map((call) => ({ call, verdict: otherwise })),
        { call: "mknod", verdict: otherwise, when: { argument: 1, having: DEVICE } },
        { call: "mknodat", verdict: otherwise, when: { argument: 2, having: DEVICE } },
      ],
      otherwise: "allow",
    };
  const families = profile.internet === true ? [AF_UNIX, AF_INET, AF_INET6] : [AF_UNIX];
  const writes = profile.files === "write";
  // no file that is made or changed gets set-id bits: whoever owns the daemon would leave a door for local users
  const opening = (call: SystemCall, flags: number): ReadonlyArray<Rule> =>
    writes
      ? [
          { call, verdict: "allow", when: { argument: flags, without: MAKES_A_FILE } },
          { call, verdict: "allow", when: { argument: flags + 1, without: SET_ID } },
        ]
      : [{ call, verdict: "allow", when: { argument: flags, without: OPEN_TO_CHANGE } }];
  const changingMode = (call: SystemCall, mode: number): ReadonlyArray<Rule> =>
    writes ? [{ call, verdict: "allow", when: { argument: mode, without: SET_ID } }] : [];
  const calls = new Set<SystemCall>([
    ...BASE,
    ...(writes ? WRITING : []),
    ...(profile.watches === true ? WATCHING : []),
    ...(profile.actsAsUsers === true ? ACTING : []),
  ]);
  return {
    otherwise,
    rules: [
      ...[...calls].map(allow),
      ...opening("open", 1),
      ...opening("openat", 2),
      ...changingMode("chmod", 1),
      ...changingMode("fchmod", 1),
      ...changingMode("fchmodat", 2),
      { call: "fcntl", verdict: "allow", when: { argument: 1, noneOf: SIGNALLING } },
      {
        call: "fcntl",
        verdict: "allow",
        when: [
          { argument: 1, oneOf: [F_SETOWN] },
          { argument: 2, oneOf: [pid] },
        ],
      },
      { call: "socket", verdict: "allow", when: { argument: 0, oneOf: families } },
      { call: "socketpair", verdict: "allow", when: { argument: 0, oneOf: [AF_UNIX] } },
      // the C library asks for threads by clone3(), whose flags a filter cannot see, and then by clone()
      { call: "clone3", verdict: ENOSYS },
      { call: "clone", verdict: "allow", when: { argument: 0, having: CLONE_THREAD } },
      { call: "tgkill", verdict: "allow", when: { argument: 0, oneOf: [pid] } },
      { call: "kill", verdict: "allow", when: { argument: 0, oneOf: [pid] } },
      { call: "prlimit64", verdict: "allow", when: { argument: 0, oneOf: [0, pid] } },
      { call: "prctl", verdict: "allow", when: { argument: 0, oneOf: PRCTL } },
      { call: "ioctl", verdict: "allow", when: { argument: 1, oneOf: IOCTL } },
    ],
  };
}
