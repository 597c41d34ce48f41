/** Local time by the C library: the runtime takes 5 milliseconds to load its own time zones. */

import { environmentVariable } from "./environment.ts";
import { errnoNumber, SysError } from "./errno.ts";
import { cString, ffi, library } from "./ffi.ts";

const libc = library(["libc.so.6", "libc.so"], {
  localtime_r: { args: ["ptr", "ptr"], returns: "ptr" },
  strftime: { args: ["ptr", "usize", "ptr", "ptr"], returns: "usize" },
  setenv: { args: ["ptr", "ptr", "i32"], returns: "i32" },
  unsetenv: { args: ["ptr"], returns: "i32" },
  tzset: { args: [], returns: "void" },
});

/** More than a path may have. */
const LIMIT = 4096;
/** struct tm has 56 bytes. */
const TM_SIZE = 64;

const TZ = cString("TZ");
let loadedZone: string | undefined | null = null;

/** Reads the time zone of TZ, or that of the system, when it is not the one in use: it cannot be read in a jail. */
export function loadTimeZone(): void {
  const zone = environmentVariable("TZ");
  if (zone === loadedZone) return;
  const { ptr } = ffi();
  // the C library has an environment of its own
  if (zone === undefined) libc().unsetenv(ptr(TZ));
  else libc().setenv(ptr(TZ), ptr(cString(zone)), 1);
  libc().tzset();
  loadedZone = zone;
}

/** A local time in seconds since 1970 by a format, both byte strings. Throws SysError for what is too long. */
export function formatTime(format: string, seconds: number): string {
  if (format === "") return "";
  loadTimeZone();
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
