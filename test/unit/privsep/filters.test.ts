/** Filters of system calls: the numbers are the kernel's own, and the programs decide as the rules say. */
import { existsSync, readFileSync } from "node:fs";
import t from "tap";
import { filterOf, type Profile } from "../../../lib/privsep/profile.ts";
import { assemble, type Filter } from "../../../lib/sys/seccomp.ts";
import {
  callNumber,
  MACHINES,
  type Machine,
  SYSTEM_CALLS,
  type SystemCall,
} from "../../../lib/sys/system_calls.ts";

const HEADERS: ReadonlyArray<readonly [Machine, string]> = [
  ["x64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"],
  // the generic table, which arm64 uses
  ["arm64", "/usr/include/asm-generic/unistd.h"],
];

for (const [machine, path] of HEADERS)
  t.test(`numbers of ${machine}`, existsSync(path) ? {} : { skip: `no ${path}` }, async (t) => {
    const text = readFileSync(path, "latin1");
    const numbers = new Map(
      [...text.matchAll(/^#define __NR(?:3264)?_(\w+)\s+(\d+)$/gm)].map(([, name = "", number]) => [
        name,
        Number(number),
      ]),
    );
    // on 64-bit machines the plain names stand for these
    for (const [, name = "", other = ""] of text.matchAll(/^#define __NR_(\w+) __NR3264_(\w+)$/gm))
      if (numbers.has(other)) numbers.set(name, numbers.get(other) ?? 0);
    for (const call of Object.keys(SYSTEM_CALLS) as SystemCall[])
      t.equal(callNumber(call, machine), numbers.get(call), call);
  });

const ALLOW = 0x7fff0000;
const EPERM = 0x50001;
const ENOSYS = 0x50026;
const KILL = 0x80000000;

/** Runs a program as the kernel's manual describes it (seccomp(2), classic BPF). */
function verdict(program: Buffer, audit: number, number: number, args: ReadonlyArray<bigint>): number {
  const data = Buffer.alloc(64);
  data.writeUInt32LE(number, 0);
  data.writeUInt32LE(audit, 4);
  for (const [index, value] of args.entries())
    data.writeBigUInt64LE(BigInt.asUintN(64, value), 16 + 8 * index);
  let accumulator = 0;
  for (let at = 0; at < program.length / 8; at++) {
    const code = program.readUInt16LE(8 * at);
    const jumpTrue = program.readUInt8(8 * at + 2);
    const jumpFalse = program.readUInt8(8 * at + 3);
    const k = program.readUInt32LE(8 * at + 4);
    switch (code) {
      case 0x20:
        accumulator = data.readUInt32LE(k);
        break;
      case 0x54:
        accumulator = (accumulator & k) >>> 0;
        break;
      case 0x15:
        at += accumulator === k ? jumpTrue : jumpFalse;
        break;
      case 0x35:
        at += accumulator >= k ? jumpTrue : jumpFalse;
        break;
      case 0x06:
        return k;
      default:
        throw new Error(`instruction ${code.toString(16)}`);
    }
  }
  throw new Error("the program does not end");
}

const PID = 4711;
const READER: Profile = { files: "read" };
const CLIENT: Profile = { files: "write", internet: true };

for (const machine of ["x64", "arm64"] as const) {
  const ask = (filter: Filter, call: SystemCall, ...args: number[]): number =>
    verdict(
      assemble(filter, machine),
      MACHINES[machine].audit,
      callNumber(call, machine) ?? -1,
      args.map(BigInt),
    );
  t.test(`decisions on ${machine}`, async (t) => {
    const reader = filterOf(READER, PID);
    const client = filterOf(CLIENT, PID);
    t.ok(assemble(client, machine).length / 8 < 4096, "no longer than the kernel takes");
    const cases: ReadonlyArray<readonly [Filter, number, SystemCall, ...number[]]> = [
      [reader, ALLOW, "read"],
      [reader, ALLOW, "exit_group"],
      [reader, EPERM, "execve"],
      [reader, EPERM, "unlinkat"],
      [client, ALLOW, "unlinkat"],
      [reader, ALLOW, "socket", 1, 1, 0],
      [reader, EPERM, "socket", 2, 1, 0],
      [client, ALLOW, "socket", 2, 1, 0],
      [client, ALLOW, "socket", 10, 2, 0],
      [client, EPERM, "socket", 16, 3, 0],
      // O_RDONLY | O_CLOEXEC; O_WRONLY; O_RDWR; O_CREAT; O_TRUNC
      [reader, ALLOW, "openat", -100, 0, 0o2000000],
      [reader, EPERM, "openat", -100, 0, 1],
      [reader, EPERM, "openat", -100, 0, 2],
      [reader, EPERM, "openat", -100, 0, 0o100],
      [reader, EPERM, "openat", -100, 0, 0o1000],
      [client, ALLOW, "openat", -100, 0, 0o102],
      [client, ALLOW, "openat", -100, 0, 0o102, 0o600],
      [client, EPERM, "openat", -100, 0, 0o102, 0o4755],
      [client, EPERM, "openat", -100, 0, 0o20200002, 0o2700],
      [client, ALLOW, "openat", -100, 0, 2, 0o4755],
      [client, ALLOW, "fchmod", 3, 0o700],
      [client, EPERM, "fchmod", 3, 0o4700],
      [client, EPERM, "fchmodat", -100, 0, 0o2700],
      [reader, EPERM, "fchmod", 3, 0o700],
      [reader, ALLOW, "fcntl", 3, 4, 0o4000],
      [reader, ALLOW, "fcntl", 3, 1030, 0],
      [reader, ALLOW, "fcntl", 3, 8, PID],
      [reader, EPERM, "fcntl", 3, 8, 1],
      [reader, EPERM, "fcntl", 3, 8, -PID],
      [reader, EPERM, "fcntl", 3, 10, 9],
      [reader, EPERM, "fcntl", 3, 15, 0],
      [reader, EPERM, "fcntl", 3, 1026, 0],
      [filterOf({ files: "write", executes: true }, PID), EPERM, "mknodat", -100, 0, 0o020666],
      [filterOf({ files: "write", executes: true }, PID), EPERM, "mknodat", -100, 0, 0o060666],
      [filterOf({ files: "write", executes: true }, PID), ALLOW, "mknodat", -100, 0, 0o010666],
      [filterOf({ files: "write", executes: true }, PID), ALLOW, "mknodat", -100, 0, 0o140666],
      [reader, ENOSYS, "clone3"],
      [reader, ALLOW, "clone", 0x3d0f00],
      [reader, EPERM, "clone", 17],
      [reader, ALLOW, "tgkill", PID, PID, 10],
      [reader, EPERM, "tgkill", 1, 1, 9],
      [reader, EPERM, "kill", -1, 9],
      [reader, EPERM, "kill", 0, 9],
      [reader, ALLOW, "prctl", 15],
      [reader, EPERM, "prctl", 22],
      [reader, EPERM, "ioctl", 0, 0x5412],
      [filterOf({ files: "write", executes: true }, PID), ALLOW, "execve"],
      [filterOf({ files: "write", executes: true }, PID), EPERM, "mount"],
      [filterOf({ files: "write", actsAsUsers: true }, PID), ALLOW, "setresuid"],
      [filterOf({ files: "write", actsAsUsers: true }, PID), EPERM, "execve"],
    ];
    for (const [filter, expected, call, ...args] of cases)
      t.equal(ask(filter, call, ...args), expected, `${call}(${args.join(", ")})`);
    const program = assemble(reader, machine);
    t.equal(verdict(program, MACHINES.x64.audit - 1, 0, []), KILL, "another machine's call");
    t.equal(verdict(program, MACHINES[machine].audit, 0x40000000, []), KILL, "x32");
    t.equal(verdict(program, MACHINES[machine].audit, 0x3fffffff, []), EPERM, "a call that nobody knows");
    const open = callNumber("openat", machine) ?? -1;
    t.equal(
      verdict(program, MACHINES[machine].audit, open, [0n, 0n, 1n << 32n]),
      ALLOW,
      "the kernel looks at the low half of an int as well",
    );
    t.equal(ask(filterOf(READER, PID, "log"), "execve"), 0x7ffc0000, "noted, not denied");
  });
}
