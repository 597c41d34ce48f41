/** System errors: the failed call, what it was about, and errno. */

/** One a line: number, name, glibc's text. A text that is searched costs a start nothing. */
const TABLE = `
1 EPERM Operation not permitted
2 ENOENT No such file or directory
3 ESRCH No such process
4 EINTR Interrupted system call
5 EIO Input/output error
6 ENXIO No such device or address
7 E2BIG Argument list too long
8 ENOEXEC Exec format error
9 EBADF Bad file descriptor
10 ECHILD No child processes
11 EAGAIN Resource temporarily unavailable
12 ENOMEM Cannot allocate memory
13 EACCES Permission denied
14 EFAULT Bad address
15 ENOTBLK Block device required
16 EBUSY Device or resource busy
17 EEXIST File exists
18 EXDEV Invalid cross-device link
19 ENODEV No such device
20 ENOTDIR Not a directory
21 EISDIR Is a directory
22 EINVAL Invalid argument
23 ENFILE Too many open files in system
24 EMFILE Too many open files
25 ENOTTY Inappropriate ioctl for device
26 ETXTBSY Text file busy
27 EFBIG File too large
28 ENOSPC No space left on device
29 ESPIPE Illegal seek
30 EROFS Read-only file system
31 EMLINK Too many links
32 EPIPE Broken pipe
33 EDOM Numerical argument out of domain
34 ERANGE Numerical result out of range
35 EDEADLK Resource deadlock avoided
36 ENAMETOOLONG File name too long
37 ENOLCK No locks available
38 ENOSYS Function not implemented
39 ENOTEMPTY Directory not empty
40 ELOOP Too many levels of symbolic links
61 ENODATA No data available
62 ETIME Timer expired
71 EPROTO Protocol error
74 EBADMSG Bad message
75 EOVERFLOW Value too large for defined data type
84 EILSEQ Invalid or incomplete multibyte or wide character
88 ENOTSOCK Socket operation on non-socket
89 EDESTADDRREQ Destination address required
90 EMSGSIZE Message too long
91 EPROTOTYPE Protocol wrong type for socket
92 ENOPROTOOPT Protocol not available
93 EPROTONOSUPPORT Protocol not supported
94 ESOCKTNOSUPPORT Socket type not supported
95 EOPNOTSUPP Operation not supported
97 EAFNOSUPPORT Address family not supported by protocol
98 EADDRINUSE Address already in use
99 EADDRNOTAVAIL Cannot assign requested address
100 ENETDOWN Network is down
101 ENETUNREACH Network is unreachable
102 ENETRESET Network dropped connection on reset
103 ECONNABORTED Software caused connection abort
104 ECONNRESET Connection reset by peer
105 ENOBUFS No buffer space available
106 EISCONN Transport endpoint is already connected
107 ENOTCONN Transport endpoint is not connected
108 ESHUTDOWN Cannot send after transport endpoint shutdown
110 ETIMEDOUT Connection timed out
111 ECONNREFUSED Connection refused
112 EHOSTDOWN Host is down
113 EHOSTUNREACH No route to host
114 EALREADY Operation already in progress
115 EINPROGRESS Operation now in progress
116 ESTALE Stale file handle
122 EDQUOT Disk quota exceeded
`;

export type ErrnoName = string;

/** The line in which `key` stands, as [number, name, text]. */
function entryOf(key: string): readonly [number, ErrnoName, string] | undefined {
  const at = TABLE.indexOf(key);
  if (at < 0) return undefined;
  const start = TABLE.lastIndexOf("\n", at) + 1;
  const name = TABLE.indexOf(" ", start) + 1;
  const text = TABLE.indexOf(" ", name) + 1;
  return [
    Number(TABLE.slice(start, name)),
    TABLE.slice(name, text - 1),
    TABLE.slice(text, TABLE.indexOf("\n", text)),
  ];
}
const byNumber = (errno: number) => entryOf(`\n${errno} `);
/** Names are the only words in capitals alone that stand between spaces. */
const byName = (name: ErrnoName) => (/^E[A-Z0-9]+$/.test(name) ? entryOf(` ${name} `) : undefined);

/** `ENOENT` for 2; `E<number>` for one that has no entry. */
export const errnoName = (errno: number): ErrnoName => byNumber(errno)?.[1] ?? `E${errno}`;
/** 2 for `ENOENT`; 0 for a name that has no entry. */
export const errnoNumber = (name: ErrnoName): number => byName(name)?.[0] ?? 0;
/** glibc's strerror(). */
export const strerror = (errno: number): string => byNumber(errno)?.[2] ?? `Unknown error ${errno}`;

/** A failed system call. */
export class SysError extends Error {
  readonly code: ErrnoName;
  constructor(
    /** Name of the call, `open`. */
    readonly call: string,
    /** errno, positive. */
    readonly errno: number,
    /** Path or other object of the call. */
    readonly subject: string = "",
  ) {
    super(subject === "" ? `${call}: ${strerror(errno)}` : `${call} ${subject}: ${strerror(errno)}`);
    this.name = "SysError";
    this.code = errnoName(errno);
  }
}

/** The errno name of an error thrown by our own calls, by node:fs or by Bun's sockets; undefined for anything else. */
export function errorCode(error: unknown): ErrnoName | undefined {
  if (error instanceof SysError) return error.code;
  if (
    typeof error === "object" &&
    error !== null &&
    "code" in error &&
    typeof error.code === "string" &&
    /^E[A-Z0-9]+$/.test(error.code)
  )
    return error.code;
  return undefined;
}

/** What `%m` prints for an error: libc's text when it has an errno, else its message. */
export function errorText(error: unknown): string {
  const code = errorCode(error);
  const entry = code === undefined ? undefined : byName(code);
  if (entry !== undefined) return entry[2];
  if (error instanceof SysError) return strerror(error.errno);
  return error instanceof Error ? error.message : String(error);
}

/** Runs a call and returns undefined when it fails with one of the named errors. */
export function unless<T>(codes: ReadonlyArray<ErrnoName>, call: () => T): T | undefined {
  try {
    return call();
  } catch (error) {
    const code = errorCode(error);
    if (code !== undefined && codes.includes(code)) return undefined;
    throw error;
  }
}
