/** Calls every kind of foreign function again and again under Bun and compares what they say with what is known otherwise; prints what differs. */
import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { configurationFromText, installConfiguration } from "../../../lib/config/configuration.ts";
import { setLogSinks } from "../../../lib/log/log.ts";
import { openDirectory } from "../../../lib/sys/directory.ts";
import { setEnvironmentVariable } from "../../../lib/sys/environment.ts";
import { makeFifo, makePipe, pendingBytes, recordLock, tryLock } from "../../../lib/sys/files.ts";
import {
  groupLine,
  groupsOf,
  lookupGroup,
  lookupGroupById,
  lookupUser,
  lookupUserById,
  passwdLine,
} from "../../../lib/sys/identity.ts";
import { MappedFile } from "../../../lib/sys/mapped_file.ts";
import { resourceLimit, setResourceLimit, threadMilliseconds } from "../../../lib/sys/process.ts";
import { connectLocal, readableNow } from "../../../lib/sys/sockets.ts";
import { formatTime } from "../../../lib/sys/strftime.ts";
import { openPcre } from "../../../lib/tables/types/pcre.ts";
import { openRegexp } from "../../../lib/tables/types/regexp.ts";

const ROUNDS = Number(process.argv[2] ?? 20);
const folder = mkdtempSync(join(tmpdir(), "posthaste-foreign-"));
setLogSinks([]);
installConfiguration(configurationFromText("myhostname = mail.example.com\n"));

const wrong = new Map<string, string>();
let calls = 0;
/** The runtime collects while and after the call; a little rubbish takes the place of what it frees. */
function check(name: string, made: () => unknown, expected: unknown): void {
  const value = made();
  Bun.gc(true);
  for (let index = 0; index < 20; index++) Buffer.alloc(4096, 0x5a);
  calls++;
  const [is, ought] = [JSON.stringify(value), JSON.stringify(expected)];
  if (is !== ought) wrong.set(name, `${is}, not ${ought}`.slice(0, 300));
}

/** Also in the middle of reading a C string. */
const { fromCharCode } = String;
String.fromCharCode = (...codes) => {
  Bun.gc(true);
  for (let index = 0; index < 20; index++) Buffer.alloc(4096, 0x5a);
  return fromCharCode(...codes);
};

const lines = (path: string): string[] =>
  readFileSync(path, "latin1")
    .split("\n")
    .filter((line) => line !== "");
const users = lines("/etc/passwd").map((line) => line.split(":"));
const groups = lines("/etc/group").map((line) => line.split(":"));
const names = Array.from({ length: 300 }, (_, index) => `${index}${"n".repeat(index % 200)}`);
for (const name of names) writeFileSync(join(folder, name), "");

writeFileSync(join(folder, "rules"), "/^(a+)(b*)$/ <$1><$2>\n/^x(.*)$/ [$1]\n");
const regexp = await openRegexp(join(folder, "rules"), { flags: 0 } as never);
const pcre = await openPcre(join(folder, "rules"), { flags: 0 } as never);

/** What a mapped file shows while it is empty, grows, is written over, and is cut. */
function mapping(round: number): void {
  const fd = openSync(join(folder, "lock"), "w+");
  const file = new MappedFile(fd);
  const read = (length: number, position: number): string | undefined => {
    const bytes = Buffer.alloc(length);
    return file.copy(bytes, position) ? bytes.toString("latin1") : undefined;
  };
  const maps = (): number => readFileSync("/proc/self/maps", "latin1").split("/lock").length - 1;
  check("an empty file", () => [read(0, 0), read(1, 0), file.word(0)], ["", null, null]);
  const text = `${"x".repeat(5000 * (round + 1))}number \x01\x02\x00\x80`;
  writeSync(fd, text, 0, "latin1");
  check("a file that has grown", () => [read(text.length, 0), read(2, text.length - 1)], [text, null]);
  check("mmap", () => [file.word(text.length - 4), file.size, maps()], [0x8000_0201, text.length, 1]);
  writeSync(fd, "written", text.length - 11, "latin1");
  check("what was written over", () => read(7, text.length - 11), "written");
  ftruncateSync(fd, 5);
  file.refresh();
  check("a file that was cut", () => [read(5, 0), read(6, 0), file.size], [text.slice(0, 5), null, 5]);
  file.close();
  check("munmap", maps, 0);
  closeSync(fd);
}

for (let round = 0; round < ROUNDS; round++) {
  for (const [name = "", , uid, gid, gecos, home, shell] of users.slice(0, 8)) {
    const user = { name, uid: Number(uid), gid: Number(gid), gecos, home, shell };
    check("getpwnam", () => lookupUser(name), user);
    check("getpwuid", () => lookupUserById(Number(uid))?.uid, Number(uid));
    check("passwd line", () => passwdLine(name), users.find((entry) => entry[0] === name)?.join(":"));
    check("getgrouplist", () => groupsOf(name, Number(gid))[0], Number(gid));
  }
  for (const [name = "", , gid] of groups.slice(0, 8)) {
    check("getgrnam", () => lookupGroup(name), { name, gid: Number(gid) });
    check("getgrgid", () => lookupGroupById(Number(gid))?.gid, Number(gid));
    check("group line", () => groupLine(name), groups.find((entry) => entry[0] === name)?.join(":"));
  }
  check("no user", () => lookupUser("no-such-user") ?? "none", "none");
  const reader = openDirectory(folder);
  const seen: string[] = [];
  for (let name = reader.next(); name !== undefined; name = reader.next()) seen.push(name);
  reader.close();
  check("getdents64", () => seen.sort(), readdirSync(folder).sort());
  const year = new Date(86_400_000 * 365.25 * (round + 1)).getUTCFullYear();
  check("strftime", () => formatTime("%Y %%", 86_400 * 365.25 * (round + 1)), `${year} %`);
  const hourIn = (zone: string): string => {
    setEnvironmentVariable("TZ", zone);
    return formatTime("%H:%M", 0);
  };
  check("time zone", () => `${hourIn("JST-9")} ${hourIn("UTC0")}`, "09:00 00:00");
  const text = `a${"a".repeat(round * 37)}${"b".repeat(round)}`;
  for (const table of [regexp, pcre]) {
    const found = await table.lookup(text);
    check("pattern", () => found, {
      kind: "found",
      value: `<${text.replace(/b/g, "")}><${"b".repeat(round)}>`,
    });
    const none = await table.lookup("nothing");
    check("no pattern", () => none, { kind: "absent" });
  }
  const [output, input] = makePipe();
  writeSync(input, "12345");
  check("FIONREAD", () => pendingBytes(output), 5);
  check("poll", () => [...readableNow([output])], [output]);
  for (const fd of [output, input]) closeSync(fd);
  const fd = openSync(join(folder, "lock"), "w+");
  check("flock", () => tryLock(fd, "exclusive"), true);
  check("fcntl", () => recordLock(fd, "exclusive"), true);
  for (let other = 0; other < 2; other++) {
    // the close of a descriptor must not drop the lock of another one of the same process
    const second = openSync(join(folder, "lock"), "r+");
    check("fcntl beside a lock of this process", () => recordLock(second, "exclusive"), false);
    closeSync(second);
  }
  closeSync(fd);
  mapping(round);
  setResourceLimit("core", 12_345 + round);
  check("getrlimit", () => resourceLimit("core"), 12_345 + round);
  check("getrusage", () => threadMilliseconds() >= 0, true);
}

// what holds a NUL is refused, not cut
for (const [name, call] of [
  ["mkfifo", () => makeFifo(`${folder}/fifo\0.x`, 0o600)],
  ["connect", () => connectLocal(`${folder}/socket\0.x`, "stream")],
  ["opendir", () => openDirectory(`${folder}\0.x`)],
  ["strftime", () => formatTime("%Y\0%Y", 0)],
  ["getgrouplist", () => groupsOf("root\0.x", 0)],
] as const)
  try {
    call();
    wrong.set(`${name} with NUL`, "was taken");
  } catch {
    calls++;
  }
check("getpwnam with NUL", () => lookupUser("root\0.x") ?? "none", "none");
check("getgrnam with NUL", () => lookupGroup("root\0.x") ?? "none", "none");
check("passwd line with NUL", () => passwdLine("root\0.x") ?? "none", "none");
check("nothing was made", () => readdirSync(folder).includes("fifo"), false);

rmSync(folder, { recursive: true });
console.log(JSON.stringify({ calls, wrong: Object.fromEntries(wrong) }));
process.exit(0);
