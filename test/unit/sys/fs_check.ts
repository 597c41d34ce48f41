/** Runs on Bun: lib/sys/fs.ts beside the runtime's node:fs, whose place it takes. One line for each difference. */
import * as runtime from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { errorCode } from "../../../lib/sys/errno.ts";
import * as ours from "../../../lib/sys/fs.ts";

const folder = runtime.mkdtempSync(join(tmpdir(), "posthaste-fs-"));
const at = (name: string): string => join(folder, name);

function same(what: string, one: unknown, other: unknown): void {
  const [a, b] = [JSON.stringify(one), JSON.stringify(other)];
  if (a !== b) console.log(`${what}: ${a} is not ${b}`);
}
function codeOf(call: () => unknown): string | undefined {
  try {
    call();
    return "no error";
  } catch (error) {
    return errorCode(error);
  }
}

runtime.writeFileSync(at("file"), "0123456789");
runtime.writeFileSync(at("n\u00e4me"), "umlaut");
runtime.writeFileSync(at("empty"), "");
runtime.writeFileSync(at("large"), Buffer.alloc(300_000, "x"));
runtime.symlinkSync("file", at("link"));
runtime.symlinkSync("nothing", at("dangling"));
runtime.mkdirSync(at("folder"));
runtime.chmodSync(at("file"), 0o4751);
runtime.utimesSync(at("file"), 1e9, 1234567890.5);

type Status = ours.Stats;
const shown = (stat: Status) => [
  [stat.dev, stat.ino, stat.mode, stat.nlink, stat.uid, stat.gid, stat.size],
  [stat.atimeMs, stat.mtimeMs, stat.ctimeMs].map((time) => time.toFixed(3)),
  stat.mtime.getTime(),
  [stat.isFile(), stat.isDirectory(), stat.isSymbolicLink(), stat.isFIFO(), stat.isSocket()],
];
for (const path of [
  at("file"),
  at("link"),
  at("folder"),
  at("n\u00e4me"),
  "/dev/null",
  "/proc/self/environ",
]) {
  same(`stat ${path}`, shown(ours.statSync(path)), shown(runtime.statSync(path)));
  same(`lstat ${path}`, shown(ours.lstatSync(path)), shown(runtime.lstatSync(path)));
}
for (const path of [at("file"), at("dangling"), at("missing"), at("file/below"), at("n\u00e4me")])
  same(`exists ${path}`, ours.existsSync(path), runtime.existsSync(path));
for (const path of [folder, "/proc", "/dev/shm"]) {
  const { bsize, bavail } = runtime.statfsSync(path);
  const { bsize: size, bavail: free } = ours.statfsSync(path);
  // others write meanwhile
  same(`statfs ${path}`, [size, Math.abs(free - bavail) < 1e5], [bsize, true]);
}
const quietly = { throwIfNoEntry: false } as const;
same("nothing there", ours.statSync(at("missing"), quietly), runtime.statSync(at("missing"), quietly));
for (const name of ["file", "empty", "large", "n\u00e4me"])
  same(name, ours.readFileSync(at(name), "latin1"), runtime.readFileSync(at(name), "latin1"));
same("bytes of a path", ours.readFileSync(Buffer.from(at("n\u00e4me")), "latin1"), "umlaut");
const far = 6_000_000_000;
runtime.utimesSync(at("empty"), -1.5, -far);
same(
  "times before 1970 and beyond 32 bits",
  shown(ours.statSync(at("empty"))),
  shown(runtime.statSync(at("empty"))),
);
const sparse = ours.openSync(at("empty"), "r+");
same("written far behind", ours.writeSync(sparse, Buffer.from("far"), 0, 3, far), 3);
const read = Buffer.alloc(4);
same("read far behind", [ours.readSync(sparse, read, 0, 4, far), read.toString("latin1", 0, 3)], [3, "far"]);
ours.closeSync(sparse);
for (const [from, to] of [
  ["renamed", "to another name"],
  ["n\u00e4mlich", "anders"],
  ["short", "x".repeat(200)],
] as const) {
  runtime.writeFileSync(at(from), from);
  ours.renameSync(at(from), at(to));
  same(`renamed ${to}`, [runtime.existsSync(at(from)), runtime.readFileSync(at(to), "utf8")], [false, from]);
  ours.unlinkSync(at(to));
  same(`removed ${to}`, runtime.existsSync(at(to)), false);
}
const long = `${"../".repeat(40)}${"./".repeat(700)}${at("file").slice(1)}`;
same("a long path", ours.readFileSync(`/${long}`, "latin1"), "0123456789");
same(
  "a path with a NUL",
  codeOf(() => ours.statSync("/\0")),
  "EINVAL",
);
same("a file without a size", ours.readFileSync("/proc/self/cmdline").length > 10, true);

for (const [what, call] of Object.entries({
  open: (fs: typeof ours) => fs.openSync(at("missing"), "r"),
  create: (fs: typeof ours) => fs.openSync(at("file"), fs.constants.O_CREAT | fs.constants.O_EXCL, 0o600),
  "no directory": (fs: typeof ours) => fs.openSync(at("file"), fs.constants.O_DIRECTORY),
  "no link": (fs: typeof ours) => fs.openSync(at("link"), fs.constants.O_NOFOLLOW),
  "read a directory": (fs: typeof ours) => fs.readFileSync(at("folder")),
  close: (fs: typeof ours) => fs.closeSync(999),
  fstat: (fs: typeof ours) => fs.fstatSync(999),
  write: (fs: typeof ours) => fs.writeSync(999, "x"),
  rename: (fs: typeof ours) => fs.renameSync(at("missing"), at("other")),
  link: (fs: typeof ours) => fs.linkSync(at("missing"), at("other")),
  "link to one that is there": (fs: typeof ours) => fs.linkSync(at("file"), at("folder")),
  "rename across": (fs: typeof ours) => fs.renameSync(at("file"), "/proc/file"),
  unlink: (fs: typeof ours) => fs.unlinkSync(at("missing")),
  "unlink a directory": (fs: typeof ours) => fs.unlinkSync(at("folder")),
  fchmod: (fs: typeof ours) => fs.fchmodSync(999, 0o600),
  fsync: (fs: typeof ours) => fs.fsyncSync(999),
  "below a file": (fs: typeof ours) => fs.statSync(at("file/below"), { throwIfNoEntry: false }),
  statfs: (fs: typeof ours) => fs.statfsSync(at("missing")),
  lstat: (fs: typeof ours) => fs.lstatSync(at("missing")),
}))
  same(
    what,
    codeOf(() => call(ours)),
    codeOf(() => call(runtime as unknown as typeof ours)),
  );
same(
  "NUL in a path",
  codeOf(() => ours.openSync("/etc/passwd\0.txt", "r")),
  "EINVAL",
);

process.umask(0o022);
const written = ["ours", "theirs"].map((name, index) => {
  const fs = index === 0 ? ours : (runtime as unknown as typeof ours);
  const fd = fs.openSync(at(name), fs.constants.O_CREAT | fs.constants.O_RDWR, 0o640);
  const bytes = Buffer.from("abcdefgh");
  const counts = [
    fs.writeSync(fd, bytes),
    fs.writeSync(fd, bytes, 6),
    fs.writeSync(fd, bytes, 2, 3),
    fs.writeSync(fd, bytes, 0, 1, 4),
    fs.writeSync(fd, "\u00e4"),
    fs.writeSync(fd, "Z", 0),
  ];
  const target = Buffer.alloc(8, ".");
  counts.push(fs.readSync(fd, target, 1, 4, 2), fs.readSync(fd, target, 0, 8, null));
  fs.fchmodSync(fd, 0o2700);
  fs.fsyncSync(fd);
  const stat = fs.fstatSync(fd);
  const closesOnExec = runtime.readFileSync(`/proc/self/fdinfo/${fd}`, "latin1").includes("02000002");
  fs.closeSync(fd);
  return [counts, target.toString("latin1"), stat.size, stat.mode, closesOnExec];
});
same("writes and reads", written[0], written[1]);
same("what was written", runtime.readFileSync(at("ours")), runtime.readFileSync(at("theirs")));
for (const [name, value] of Object.entries(ours.constants))
  same(name, value, runtime.constants[name as keyof typeof runtime.constants]);

const { dev, ino } = runtime.statSync(at("file"), { bigint: true });
const opened = ours.openSync(at("file"), "r");
same("identity", ours.fileIdentity(opened), { device: dev.toString(16), file: ino.toString(16) });
ours.closeSync(opened);
ours.linkSync(at("file"), at("second"));
same("linked", ours.statSync(at("second")).ino, runtime.statSync(at("file")).ino);
ours.unlinkSync(at("second"));

ours.renameSync(at("ours"), at("moved"));
ours.unlinkSync(at("theirs"));
same(
  "moved and removed",
  runtime.readdirSync(folder).filter((name) => /ours|theirs|moved/.test(name)),
  ["moved"],
);

runtime.rmSync(folder, { recursive: true });
console.log("compared");
