/** The only door to bun:ffi. A library is opened at its first use, so that modules which may call it can be loaded on Node. */
import type { FFIFunction, FFIType, Pointer } from "bun:ffi";
import { SysError } from "./errno.ts";

export type { Pointer };

type Ffi = typeof import("bun:ffi");
let loaded: Ffi | undefined;
/** bun:ffi itself. */
export function ffi(): Ffi {
  loaded ??= require("bun:ffi") as Ffi;
  return loaded;
}

/** A result of 64 bits that is a number where it fits into one; of "i64" the runtime makes an object each time. */
export const I64_FAST: FFIType.i64_fast = 15;

/** A foreign function by its declared types; pointers are typed arrays or numbers. */
// biome-ignore lint/suspicious/noExplicitAny: the shapes of foreign calls are declared beside each library
export type Foreign = (...args: any[]) => any;

/** Declares a shared library; the returned function opens it once and gives its symbols. Throws when no candidate can be opened. */
export function library<T extends Record<string, FFIFunction>>(
  candidates: ReadonlyArray<string>,
  symbols: T,
): () => Record<keyof T, Foreign> {
  let opened: Record<keyof T, Foreign> | undefined;
  return () => {
    if (opened !== undefined) return opened;
    // opening it after a failed call would leave its own errno, most of all in a jail where no library is found
    errnoLocation();
    let failure: unknown;
    for (const candidate of candidates) {
      try {
        opened = ffi().dlopen(candidate, symbols).symbols as Record<keyof T, Foreign>;
        return opened;
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  };
}

let errnoSymbol: Foreign | undefined;
function errnoLocation(): Foreign {
  errnoSymbol ??= ffi().dlopen("libc.so.6", { __errno_location: { args: [], returns: "ptr" } }).symbols
    .__errno_location as Foreign;
  return errnoSymbol;
}

/** errno of the calling thread, to be read right after the foreign call. */
export const errno = (): number => ffi().read.i32(errnoLocation()() as Pointer);

/** Checks the result of a call that returns -1 on failure. */
export function checked(call: string, subject: string, result: number): number {
  if (result < 0) throw new SysError(call, errno(), subject);
  return result;
}

const EINTR = 4;

/** checked() for a call that a signal may interrupt before it has done anything: it is made again. */
export function uninterrupted(call: string, subject: string, make: () => number | bigint): number {
  for (;;) {
    const result = Number(make());
    if (result >= 0) return result;
    const code = errno();
    if (code !== EINTR) throw new SysError(call, code, subject);
  }
}

const EINVAL = 22;

/** A NUL-terminated copy of a byte string. Throws SysError for one that holds a NUL: the C library would take what is before it for the whole. */
export function cString(text: string): Buffer {
  if (text.includes("\0")) throw new SysError("C string", EINVAL, text);
  return Buffer.from(`${text}\0`, "latin1");
}

/** A NUL-terminated copy of what a C program would see of a byte string. */
export const cutString = (text: string): Buffer => Buffer.from(`${text}\0`, "latin1");

/** The byte string at a C pointer; the empty string for NULL. */
export function stringAt(pointer: Pointer | null | 0): string {
  if (pointer === null || pointer === 0) return "";
  const { read } = ffi();
  const bytes: number[] = [];
  for (let offset = 0; ; offset++) {
    const byte = read.u8(pointer, offset);
    if (byte === 0) return String.fromCharCode(...bytes);
    bytes.push(byte);
  }
}
