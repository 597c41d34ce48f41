/**
 * How a client of ours tells a service of ours that it will use its connection again (docs/daemons.md): its end has a name. Services of Postfix do
 * not look, and close when a request is done; clients of Postfix have no name, and are treated as ever.
 */
import { checked, ffi, library } from "./ffi.ts";
import { unixAddress } from "./sockets.ts";

const libc = library(["libc.so.6", "libc.so"], {
  socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  bind: { args: ["i32", "ptr", "u32"], returns: "i32" },
  connect: { args: ["i32", "ptr", "u32"], returns: "i32" },
  getpeername: { args: ["i32", "ptr", "ptr"], returns: "i32" },
  close: { args: ["i32"], returns: "i32" },
});

const AF_UNIX = 1;
const SOCK_STREAM_CLOEXEC_NONBLOCK = 1 | 0o2000000 | 0o4000;

/** An abstract name (unix(7)): it needs no directory, and so exists in every jail. */
const PREFIX = Buffer.concat([Buffer.from([AF_UNIX, 0, 0]), Buffer.from("posthaste-kept/", "latin1")]);
/** sizeof(struct sockaddr_un). */
const NAME_LIMIT = 110;
let connections = 0;

/** Connects to a unix stream socket from an end with a name; undefined when that does not work at once, for whatever reason. */
export function connectKept(path: string): number | undefined {
  const target = unixAddress(path);
  const name = `${process.pid}.${connections++} ${path}`.slice(0, NAME_LIMIT - PREFIX.length);
  const own = Buffer.concat([PREFIX, Buffer.from(name, "latin1")]);
  const { ptr } = ffi();
  const fd = checked("socket", path, libc().socket(AF_UNIX, SOCK_STREAM_CLOEXEC_NONBLOCK, 0));
  const connected =
    libc().bind(fd, ptr(own), own.length) === 0 && libc().connect(fd, ptr(target), target.length) === 0;
  if (connected) return fd;
  libc().close(fd);
  return undefined;
}

const peerName = Buffer.alloc(128);
const peerNameSize = new Uint32Array(1);

/** Whether the client of an accepted connection will use it again. */
export function isKept(fd: number): boolean {
  peerNameSize[0] = peerName.length;
  if (libc().getpeername(fd, ffi().ptr(peerName), ffi().ptr(peerNameSize)) !== 0) return false;
  return (
    (peerNameSize[0] ?? 0) > PREFIX.length &&
    peerName.compare(PREFIX, 0, PREFIX.length, 0, PREFIX.length) === 0
  );
}
