/** strftime(3) of the C library, for names of files that the admin chooses. */
import { errnoNumber, SysError } from "./errno.ts";
import { cString, ffi, library } from "./ffi.ts";

const libc = library(["libc.so.6", "libc.so"], {
  localtime_r: { args: ["ptr", "ptr"], returns: "ptr" },
  strftime: { args: ["ptr", "usize", "ptr", "ptr"], returns: "usize" },
  tzset: { args: [], returns: "void" },
});

/** More than a path may have. */
const LIMIT = 4096;
/** struct tm has 56 bytes. */
const TM_SIZE = 64;

/** Reads the time zone now: it cannot be read in a jail. */
export const loadTimeZone = (): void => libc().tzset();

/** A local time in seconds since 1970 by a format, both byte strings. Throws SysError for what is too long. */
export function formatTime(format: string, seconds: number): string {
  if (format === "") return "";
  const time = new BigInt64Array([BigInt(Math.floor(seconds))]);
  const tm = new Uint8Array(TM_SIZE);
  libc().localtime_r(ffi().ptr(time), ffi().ptr(tm));
  const out = Buffer.alloc(LIMIT);
  // a mark at the end tells an empty result from one that did not fit
  const pattern = cString(`${format}.`);
  const length = Number(libc().strftime(ffi().ptr(out), LIMIT, ffi().ptr(pattern), ffi().ptr(tm)));
  if (length === 0) throw new SysError("strftime", errnoNumber("ENAMETOOLONG"), format);
  return out.toString("latin1", 0, length - 1);
}
