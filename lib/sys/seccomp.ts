/** Filters of system calls (seccomp(2), classic BPF): made from rules, bound to all threads of the process for good. */

import { SysError } from "./errno.ts";
import { checked, ffi, library } from "./ffi.ts";
import { callNumber, MACHINES, type Machine, type SystemCall } from "./system_calls.ts";

/** What becomes of a call: it is made; it fails with an errno; it is made and noted in the audit log. */
export type Verdict = "allow" | "log" | { readonly errno: number };

/** A condition on the low 32 bits of an argument, which is all that the kernel uses of an int. */
export type Condition =
  | { readonly argument: number; readonly oneOf: ReadonlyArray<number> }
  /** None of these bits is set. */
  | { readonly argument: number; readonly without: number }
  /** All of these bits are set. */
  | { readonly argument: number; readonly having: number }
  | { readonly argument: number; readonly noneOf: ReadonlyArray<number> };

export interface Rule {
  readonly call: SystemCall;
  readonly verdict: Verdict;
  /** The verdict holds when the condition does, or all of several; otherwise the next rule of the same call counts, at last the filter's default. */
  readonly when?: Condition | ReadonlyArray<Condition>;
}

export interface Filter {
  readonly rules: ReadonlyArray<Rule>;
  readonly otherwise: Verdict;
}

const RET_ALLOW = 0x7fff0000;
const RET_LOG = 0x7ffc0000;
const RET_ERRNO = 0x00050000;
const RET_KILL_PROCESS = 0x80000000;

const LOAD = 0x20; // BPF_LD | BPF_W | BPF_ABS
const EQUAL = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const AT_LEAST = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const AND = 0x54; // BPF_ALU | BPF_AND | BPF_K
const RETURN = 0x06; // BPF_RET | BPF_K

/** Offsets in struct seccomp_data. */
const NUMBER = 0;
const ARCHITECTURE = 4;
const argumentOffset = (index: number): number => 16 + 8 * index;
/** Calls of the x32 interface have this bit. */
const X32 = 0x40000000;

type Instruction = readonly [code: number, ifTrue: number, ifFalse: number, k: number];

const returns = (verdict: Verdict): Instruction => [
  RETURN,
  0,
  0,
  verdict === "allow" ? RET_ALLOW : verdict === "log" ? RET_LOG : RET_ERRNO | verdict.errno,
];

/** Goes on behind itself when the condition holds, else `away` instructions further. */
function conditional(condition: Condition, away: number): Instruction[] {
  const load: Instruction = [LOAD, 0, 0, argumentOffset(condition.argument)];
  if ("oneOf" in condition) {
    const { oneOf } = condition;
    return [
      load,
      ...oneOf.map((value, index): Instruction => {
        const left = oneOf.length - 1 - index;
        return [EQUAL, left, left === 0 ? away : 0, value];
      }),
    ];
  }
  if ("noneOf" in condition) {
    const { noneOf } = condition;
    return [
      load,
      ...noneOf.map((value, index): Instruction => [EQUAL, away + noneOf.length - 1 - index, 0, value]),
    ];
  }
  const mask = "without" in condition ? condition.without : condition.having;
  const wanted = "without" in condition ? 0 : condition.having;
  return [load, [AND, 0, 0, mask], [EQUAL, 0, away, wanted]];
}

/** Ends with `yes` when all conditions hold; goes on behind itself when one does not. */
function ruleBody(conditions: ReadonlyArray<Condition>, yes: Instruction): Instruction[] {
  let body: Instruction[] = [yes];
  for (const condition of conditions.toReversed()) body = [...conditional(condition, body.length), ...body];
  return body;
}

/** The BPF program of a filter: 8 bytes an instruction (struct sock_filter). */
export function assemble(filter: Filter, machine: Machine): Buffer {
  const no = returns(filter.otherwise);
  const program: Instruction[] = [
    [LOAD, 0, 0, ARCHITECTURE],
    [EQUAL, 1, 0, MACHINES[machine].audit],
    [RETURN, 0, 0, RET_KILL_PROCESS],
    [LOAD, 0, 0, NUMBER],
    [AT_LEAST, 0, 1, X32],
    [RETURN, 0, 0, RET_KILL_PROCESS],
  ];
  for (const { call, verdict, when } of filter.rules) {
    const number = callNumber(call, machine);
    if (number === undefined) continue;
    const conditions = when === undefined ? [] : "argument" in when ? [when] : when;
    const body = ruleBody(conditions, returns(verdict));
    // a condition may have loaded an argument
    program.push([LOAD, 0, 0, NUMBER], [EQUAL, 0, body.length, number], ...body);
  }
  program.push(no);
  const bytes = Buffer.alloc(8 * program.length);
  program.forEach(([code, ifTrue, ifFalse, k], index) => {
    bytes.writeUInt16LE(code, 8 * index);
    bytes.writeUInt8(ifTrue, 8 * index + 2);
    bytes.writeUInt8(ifFalse, 8 * index + 3);
    bytes.writeUInt32LE(k >>> 0, 8 * index + 4);
  });
  return bytes;
}

const libc = library(["libc.so.6", "libc.so"], {
  syscall: { args: ["i64", "u64", "u64", "ptr"], returns: "i64" },
  prctl: { args: ["i32", "u64", "u64", "u64", "u64"], returns: "i32" },
});
const SECCOMP: Readonly<Record<Machine, number>> = { x64: 317, arm64: 277 };
const SET_MODE_FILTER = 1n;
const TSYNC = 1n;
const PR_GET_SECCOMP = 21;
const EINVAL = 22;

/** Whether the kernel has filters of system calls. */
export const hasFilters = (): boolean => libc().prctl(PR_GET_SECCOMP, 0n, 0n, 0n, 0n) >= 0;

/** Binds a filter to all threads, for good. It takes no_new_privs or CAP_SYS_ADMIN. Throws SysError, also when a thread could not be bound. */
export function installFilter(filter: Filter, machine: Machine): void {
  const instructions = assemble(filter, machine);
  const program = Buffer.alloc(16);
  program.writeUInt16LE(instructions.length / 8, 0);
  program.writeBigUInt64LE(BigInt(ffi().ptr(instructions)), 8);
  const thread = checked(
    "seccomp",
    "",
    Number(libc().syscall(SECCOMP[machine], SET_MODE_FILTER, TSYNC, ffi().ptr(program))),
  );
  if (thread > 0) throw new SysError("seccomp", EINVAL, `thread ${thread}`);
}
