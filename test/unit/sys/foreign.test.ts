/** JS-33: foreign calls under a collector that is always at work, strings that hold a NUL, and structures as a C compiler lays them out. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";

t.setTimeout(120_000);
const BUN = join(import.meta.dirname, "../../../node_modules/bun/bin/bun.exe");

for (const [name, environment] of [
  ["after each call", {}],
  ["all the time", { BUN_JSC_collectContinuously: "1" }],
] as const)
  t.test(`JS-33 what a foreign function is given and gives stays, with a collection ${name}`, async (t) => {
    const output = execFileSync(BUN, ["run", join(import.meta.dirname, "foreign_check.ts"), "15"], {
      env: { ...process.env, ...environment },
      encoding: "utf8",
    });
    const { calls, wrong } = JSON.parse(output) as { calls: number; wrong: Record<string, string> };
    t.same(wrong, {});
    t.ok(calls > 500, `${calls} calls`);
  });

/** Offsets and sizes that lib/ writes as numbers, the same on every machine that it has filters for. */
const LAYOUT: Readonly<Record<string, number>> = {
  "offsetof(struct passwd, pw_name)": 0,
  "offsetof(struct passwd, pw_passwd)": 8,
  "offsetof(struct passwd, pw_uid)": 16,
  "offsetof(struct passwd, pw_gid)": 20,
  "offsetof(struct passwd, pw_gecos)": 24,
  "offsetof(struct passwd, pw_dir)": 32,
  "offsetof(struct passwd, pw_shell)": 40,
  "sizeof(struct passwd)": 48,
  "offsetof(struct group, gr_name)": 0,
  "offsetof(struct group, gr_passwd)": 8,
  "offsetof(struct group, gr_gid)": 16,
  "offsetof(struct group, gr_mem)": 24,
  "sizeof(struct group)": 32,
  "offsetof(struct flock, l_type)": 0,
  "sizeof(struct flock)": 32,
  F_SETLK: 6,
  F_SETLKW: 7,
  "offsetof(struct sockaddr_in, sin_port)": 2,
  "offsetof(struct sockaddr_in, sin_addr)": 4,
  "sizeof(struct sockaddr_in)": 16,
  "offsetof(struct sockaddr_in6, sin6_port)": 2,
  "offsetof(struct sockaddr_in6, sin6_addr)": 8,
  "sizeof(struct sockaddr_in6)": 28,
  "offsetof(struct sockaddr_un, sun_path)": 2,
  AF_UNIX: 1,
  AF_INET: 2,
  AF_INET6: 10,
  "offsetof(struct msghdr, msg_iov)": 16,
  "offsetof(struct msghdr, msg_iovlen)": 24,
  "offsetof(struct msghdr, msg_control)": 32,
  "offsetof(struct msghdr, msg_controllen)": 40,
  "sizeof(struct msghdr)": 56,
  "offsetof(struct mmsghdr, msg_len)": 56,
  "sizeof(struct mmsghdr)": 64,
  "offsetof(struct iovec, iov_base)": 0,
  "offsetof(struct iovec, iov_len)": 8,
  "sizeof(struct iovec)": 16,
  "CMSG_LEN(sizeof(int))": 20,
  "CMSG_SPACE(sizeof(int))": 24,
  "offsetof(struct cmsghdr, cmsg_level)": 8,
  "offsetof(struct cmsghdr, cmsg_type)": 12,
  SOL_SOCKET: 1,
  SCM_RIGHTS: 1,
  SO_LINGER: 13,
  MSG_NOSIGNAL: 0x4000,
  MSG_DONTWAIT: 0x40,
  MSG_CMSG_CLOEXEC: 0x40000000,
  "offsetof(struct pollfd, events)": 4,
  "offsetof(struct pollfd, revents)": 6,
  "sizeof(struct pollfd)": 8,
  POLLIN: 1,
  POLLOUT: 4,
  "offsetof(siginfo_t, si_pid)": 16,
  "offsetof(siginfo_t, si_status)": 24,
  "sizeof(siginfo_t)": 128,
  WNOHANG: 1,
  WSTOPPED: 2,
  WEXITED: 4,
  WNOWAIT: 0x1000000,
  "sizeof(struct rlimit)": 16,
  RLIMIT_FSIZE: 1,
  RLIMIT_CORE: 4,
  RLIMIT_NPROC: 6,
  RLIMIT_NOFILE: 7,
  "sizeof(struct rusage)": 144,
  "sizeof(struct tm)": 56,
  "offsetof(regex_t, re_nsub)": 48,
  "sizeof(regex_t)": 64,
  "sizeof(regmatch_t)": 8,
  REG_EXTENDED: 1,
  REG_ICASE: 2,
  REG_NEWLINE: 4,
  REG_NOSUB: 8,
  "offsetof(struct sock_filter, jt)": 2,
  "offsetof(struct sock_filter, jf)": 3,
  "offsetof(struct sock_filter, k)": 4,
  "sizeof(struct sock_filter)": 8,
  "offsetof(struct sock_fprog, filter)": 8,
  "sizeof(struct sock_fprog)": 16,
  "offsetof(struct seccomp_data, nr)": 0,
  "offsetof(struct seccomp_data, arch)": 4,
  "offsetof(struct seccomp_data, args)": 16,
  FIONREAD: 0x541b,
};

const HEADERS = `stddef.h stdio.h pwd.h grp.h fcntl.h netinet/in.h sys/un.h sys/socket.h sys/uio.h poll.h signal.h sys/wait.h sys/resource.h time.h regex.h
sys/ioctl.h linux/filter.h linux/seccomp.h`;

const compiler = spawnSync("cc", ["--version"]).status === 0 ? {} : { skip: "needs a C compiler" };

t.test("JS-33 structures are laid out as a C compiler does it", compiler, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "posthaste-layout-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const names = Object.keys(LAYOUT);
  writeFileSync(
    join(folder, "layout.c"),
    `#define _GNU_SOURCE
${HEADERS.split(/\s+/)
  .map((header) => `#include <${header}>`)
  .join("\n")}
int main(void) {
${names.map((name) => `  printf("%ld\\n", (long)(${name}));`).join("\n")}
  return 0;
}
`,
  );
  execFileSync("cc", ["-o", join(folder, "layout"), join(folder, "layout.c")], { stdio: "pipe" });
  const values = execFileSync(join(folder, "layout"), { encoding: "latin1" }).trim().split("\n").map(Number);
  t.same(Object.fromEntries(names.map((name, index) => [name, values[index]])), LAYOUT);
});
