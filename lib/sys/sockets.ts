/** Sockets: Channels over Bun's sockets, and the calls that Bun does not offer. */

import { Channel, type Transport } from "./channel.ts";
import { errnoNumber, errorCode, SysError, unless } from "./errno.ts";
import { checked, errno, ffi, library, uninterrupted } from "./ffi.ts";
import { duplicate, setCloseOnExec, setNonBlocking } from "./files.ts";
import { chmodSync, constants, unlinkSync } from "./fs.ts";

const libc = library(["libc.so.6", "libc.so"], {
  socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  socketpair: { args: ["i32", "i32", "i32", "ptr"], returns: "i32" },
  bind: { args: ["i32", "ptr", "u32"], returns: "i32" },
  connect: { args: ["i32", "ptr", "u32"], returns: "i32" },
  listen: { args: ["i32", "i32"], returns: "i32" },
  setsockopt: { args: ["i32", "i32", "i32", "ptr", "u32"], returns: "i32" },
  send: { args: ["i32", "ptr", "u32", "i32"], returns: "i32" },
  recv: { args: ["i32", "ptr", "u32", "i32"], returns: "i32" },
  recvmmsg: { args: ["i32", "ptr", "u32", "i32", "ptr"], returns: "i32" },
  getpeername: { args: ["i32", "ptr", "ptr"], returns: "i32" },
  getsockname: { args: ["i32", "ptr", "ptr"], returns: "i32" },
  sendmsg: { args: ["i32", "ptr", "i32"], returns: "i64" },
  recvmsg: { args: ["i32", "ptr", "i32"], returns: "i64" },
  accept4: { args: ["i32", "ptr", "ptr", "i32"], returns: "i32" },
  poll: { args: ["ptr", "u64", "i32"], returns: "i32" },
  usleep: { args: ["u32"], returns: "i32" },
  close: { args: ["i32"], returns: "i32" },
});

const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;

/** What comes here is the text of an address. (node:net would bring its streams into every command.) */
const isIPv6 = (address: string): boolean => address.includes(":");
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const SOCK_NONBLOCK = 0o4000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_KEEPALIVE = 9;
const SO_LINGER = 13;
const SO_REUSEPORT = 15;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;

/** Longest path of a unix socket in bytes. */
export const UNIX_PATH_LIMIT = 107;

type BunSocket = import("bun").Socket<Channel>;

const toError = (error: unknown, name: string): Error => {
  const code = errorCode(error);
  return code === undefined
    ? error instanceof Error
      ? error
      : new Error(String(error))
    : new SysError("socket", errnoNumber(code), name);
};

/** Bun's socket callbacks, shared by all channels; each socket carries its Channel as data. */
export const channelHandlers = {
  binaryType: "buffer" as const,
  data(socket: BunSocket, chunk: Buffer): void {
    socket.data.onData(chunk);
  },
  end(socket: BunSocket): void {
    socket.data.onEnd();
  },
  drain(socket: BunSocket): void {
    socket.data.onDrain();
  },
  close(socket: BunSocket, error?: Error): void {
    socket.data.onClose(error === undefined || error === null ? undefined : toError(error, socket.data.name));
  },
  error(socket: BunSocket, error: Error): void {
    socket.data.onClose(toError(error, socket.data.name));
  },
};

/** Lets a Channel work on a Bun socket. */
export function bindChannel(channel: Channel, socket: BunSocket): void {
  socket.data = channel;
  channel.attach(socket as unknown as Transport);
}

/**
 * connectUnix() with fewer system calls, for a service that never closes the connection first; undefined when that did not work for whatever
 * reason (connectUnix() then says why).
 */
export async function connectPatientUnix(
  path: string,
  name: string,
  timeLimit = 0,
): Promise<Channel | undefined> {
  try {
    return await open(new Channel(name, timeLimit), { unix: path });
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return undefined;
  }
}

async function open(channel: Channel, target: object): Promise<Channel> {
  const socket = (await Bun.connect({
    ...(target as { unix: string }),
    allowHalfOpen: true,
    data: channel,
    socket: {
      ...channelHandlers,
      open(opened: BunSocket): void {
        bindChannel(channel, opened);
      },
      connectError(): void {
        // reported by the rejected promise
      },
    },
  } as unknown as Parameters<typeof Bun.connect>[0])) as unknown as BunSocket;
  bindChannel(channel, socket);
  return channel;
}

const EAGAIN = 11;
const ETIMEDOUT = 110;
const BACKLOG_PAUSE = 5;

/**
 * Connects to a unix stream socket. Throws SysError (`connect`, path). Not with Bun's own connect: that takes a server which
 * answers and closes at once (showq with an empty queue) for a failed connection.
 */
export async function connectUnix(path: string, name: string, timeLimit = 0): Promise<Channel> {
  const address = unixAddress(path);
  const deadline = timeLimit > 0 ? performance.now() + timeLimit * 1000 : Number.POSITIVE_INFINITY;
  for (;;) {
    const fd = checked("socket", path, libc().socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (libc().connect(fd, ffi().ptr(address), address.length) === 0) return adoptSocket(fd, name, timeLimit);
    const code = errno();
    libc().close(fd);
    // the server's backlog is full
    if (code !== EAGAIN || performance.now() > deadline)
      throw new SysError("connect", code === EAGAIN ? ETIMEDOUT : code, path);
    await new Promise((resolve) => setTimeout(resolve, BACKLOG_PAUSE));
  }
}

/** Makes a Channel of a connected stream descriptor; the descriptor is owned by the Channel from then on. */
export const adoptSocket = (fd: number, name: string, timeLimit = 0): Promise<Channel> =>
  open(new Channel(name, timeLimit), { fd });

/**
 * Takes the socket of a Channel out of the event loop: a blocking descriptor of it, close-on-exec, for a command or another process. Nothing is sent
 * or shut down; what the Channel has buffered is lost. Undefined when it is closed already.
 */
export function releaseSocket(channel: Channel): number | undefined {
  const { fd } = channel;
  if (channel.closed || fd === undefined || fd < 0) return undefined;
  const kept = duplicate(fd);
  setCloseOnExec(kept);
  channel.abandon();
  // the runtime closes its descriptor in a way that would reset the connection at the end
  checked(
    "setsockopt",
    "SO_LINGER",
    libc().setsockopt(kept, SOL_SOCKET, SO_LINGER, ffi().ptr(new Int32Array([0, 0])), 8),
  );
  setNonBlocking(kept, false);
  return kept;
}

/** Connects to an IP address literal, from a local address when given. `seconds` bounds the attempt; throws SysError. */
export async function connectInet(
  address: string,
  port: number,
  name: string,
  options: { readonly seconds: number; readonly localAddress?: string; readonly windowSize?: number },
): Promise<Channel> {
  const fd = newInetSocket(address, options.localAddress);
  if (options.windowSize !== undefined && options.windowSize > 0) setWindow(fd, options.windowSize);
  const target = inetAddress(address, port);
  if (libc().connect(fd, ffi().ptr(target), target.length) < 0) {
    const code = errno();
    if (code !== EINPROGRESS) {
      libc().close(fd);
      throw new SysError("connect", code, address);
    }
    const failure = await connectResult(fd, target, options.seconds);
    if (failure !== 0) {
      libc().close(fd);
      throw new SysError("connect", failure, address);
    }
  }
  return adoptSocket(fd, name);
}

const EISCONN = 106;
const EALREADY = 114;
const EINPROGRESS = 115;

/** Waits for a connection in progress without occupying the event loop: 0, or the errno. Another connect() says how it is going. connect(2) */
async function connectResult(fd: number, target: Buffer, seconds: number): Promise<number> {
  const deadline = performance.now() + seconds * 1000;
  for (let pause = 0; ; pause = Math.min(pause + 1, 20)) {
    if (libc().connect(fd, ffi().ptr(target), target.length) === 0) return 0;
    const code = errno();
    if (code === EISCONN) return 0;
    if (code !== EALREADY) return code;
    if (seconds > 0 && performance.now() >= deadline) return ETIMEDOUT;
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

function newInetSocket(address: string, localAddress: string | undefined): number {
  const family = isIPv6(address) ? AF_INET6 : AF_INET;
  const fd = checked("socket", address, libc().socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (localAddress !== undefined) {
    const local = inetAddress(localAddress, 0);
    if (libc().bind(fd, ffi().ptr(local), local.length) < 0) {
      const code = errno();
      libc().close(fd);
      throw new SysError("bind", code, localAddress);
    }
  }
  return fd;
}

export function unixAddress(path: string): Buffer {
  if (path.length > UNIX_PATH_LIMIT) throw new SysError("bind", errnoNumber("ENAMETOOLONG"), path);
  const address = Buffer.alloc(2 + path.length + 1);
  address.writeUInt16LE(AF_UNIX, 0);
  address.write(path, 2, "latin1");
  return address;
}

/** struct sockaddr_in or sockaddr_in6 of an address literal (a zone index is not accepted). */
function inetAddress(address: string, port: number): Buffer {
  if (!isIPv6(address)) {
    const bytes = Buffer.alloc(16);
    bytes.writeUInt16LE(AF_INET, 0);
    bytes.writeUInt16BE(port, 2);
    address.split(".").forEach((part, index) => {
      bytes.writeUInt8(Number(part), 4 + index);
    });
    return bytes;
  }
  const bytes = Buffer.alloc(28);
  bytes.writeUInt16LE(AF_INET6, 0);
  bytes.writeUInt16BE(port, 2);
  ipv6Words(address).forEach((word, index) => {
    bytes.writeUInt16BE(word, 8 + 2 * index);
  });
  return bytes;
}

/** The eight 16-bit words of an IPv6 address literal (already known to be valid). */
export function ipv6Words(address: string): number[] {
  let text = address;
  const dotted = /:(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text);
  if (dotted !== null) {
    const [, a, b, c, d] = dotted.map(Number) as [number, number, number, number, number];
    text = `${text.slice(0, dotted.index)}:${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
  }
  const [head = "", tail] = text.split("::");
  const parse = (part: string): number[] =>
    part === "" ? [] : part.split(":").map((word) => Number.parseInt(word, 16));
  const front = parse(head);
  if (tail === undefined) return front;
  const back = parse(tail);
  return [...front, ...new Array<number>(8 - front.length - back.length).fill(0), ...back];
}

const setOption = (fd: number, level: number, option: number, value: number): void => {
  checked(
    "setsockopt",
    String(option),
    libc().setsockopt(fd, level, option, ffi().ptr(new Int32Array([value])), 4),
  );
};

function setWindow(fd: number, bytes: number): void {
  setOption(fd, SOL_SOCKET, SO_SNDBUF, bytes);
  setOption(fd, SOL_SOCKET, SO_RCVBUF, bytes);
}

/** A listening TCP socket, non-blocking and close-on-exec. Throws SysError. */
export function listenInet(address: string, port: number, backlog: number, windowSize = 0): number {
  const fd = newInetSocket(address, undefined);
  try {
    setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    setOption(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (isIPv6(address)) setOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (windowSize > 0) setWindow(fd, windowSize);
    const local = inetAddress(address, port);
    checked("bind", `${address} port ${port}`, libc().bind(fd, ffi().ptr(local), local.length));
    checked("listen", address, libc().listen(fd, backlog));
    return fd;
  } catch (error) {
    libc().close(fd);
    throw error;
  }
}

export const keepAlive = (fd: number): void => setOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1);

/** A unix socket bound to a fresh path with the given mode; what was there is removed. Stream sockets listen. */
export function bindUnix(path: string, kind: "stream" | "datagram", mode: number, backlog: number): number {
  unless(["ENOENT"], () => unlinkSync(path));
  const type = kind === "stream" ? SOCK_STREAM : SOCK_DGRAM;
  const fd = checked("socket", path, libc().socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  try {
    const address = unixAddress(path);
    checked("bind", path, libc().bind(fd, ffi().ptr(address), address.length));
    chmodSync(path, mode);
    if (kind === "stream") checked("listen", path, libc().listen(fd, backlog));
    return fd;
  } catch (error) {
    libc().close(fd);
    throw error;
  }
}

/** A pair of connected stream sockets, close-on-exec. */
export function socketPair(nonBlocking = false): readonly [number, number] {
  const pair = new Int32Array(2);
  const type = SOCK_STREAM | SOCK_CLOEXEC | (nonBlocking ? SOCK_NONBLOCK : 0);
  checked("socketpair", "", libc().socketpair(AF_UNIX, type, 0, ffi().ptr(pair)));
  return [pair[0] ?? -1, pair[1] ?? -1];
}

/** A connected datagram (or, for old syslog daemons, stream) socket to a unix path. Throws SysError. */
export function connectLocal(path: string, kind: "datagram" | "stream"): number {
  const type = kind === "datagram" ? SOCK_DGRAM : SOCK_STREAM;
  const fd = checked("socket", path, libc().socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  const address = unixAddress(path);
  if (libc().connect(fd, ffi().ptr(address), address.length) < 0) {
    const code = errno();
    libc().close(fd);
    throw new SysError("connect", code, path);
  }
  return fd;
}

const MSG_NOSIGNAL = 0x4000;
const MSG_DONTWAIT = 0x40;

/** One send(); the number of bytes taken. Throws SysError. */
export function sendBytes(fd: number, bytes: Uint8Array, wait = true): number {
  if (bytes.length === 0) return 0;
  const flags = MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT);
  return uninterrupted("send", String(fd), () => libc().send(fd, ffi().ptr(bytes), bytes.length, flags));
}

/**
 * A sender of small texts over one connected socket: each is put into the same memory, so that a log line costs one system call and
 * nothing else. Longer texts than the memory are cut.
 */
export function textSender(fd: number, wait: boolean): (text: string) => void {
  const memory = Buffer.alloc(TEXT_SIZE);
  const address = ffi().ptr(memory);
  const flags = MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT);
  return (text) => {
    const length = memory.write(text, 0, "latin1");
    if (length > 0) uninterrupted("send", String(fd), () => libc().send(fd, address, length, flags));
  };
}
const TEXT_SIZE = 16 * 1024;

/**
 * Sends a few bytes to a unix stream service and closes: the service gets them when it accepts. False when that did not work at once, for
 * whatever reason.
 */
export function sendAndClose(path: string, bytes: Uint8Array): boolean {
  const address = unixAddress(path);
  const fd = libc().socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return false;
  const sent =
    libc().connect(fd, ffi().ptr(address), address.length) === 0 &&
    libc().send(fd, ffi().ptr(bytes), bytes.length, MSG_NOSIGNAL | MSG_DONTWAIT) === bytes.length;
  libc().close(fd);
  return sent;
}

/** Stops the whole process for less than a second. */
export const sleepMicroseconds = (microseconds: number): void => {
  libc().usleep(microseconds);
};

/** struct mmsghdr, with its struct msghdr. */
const MMSGHDR_SIZE = 64;

/** Takes the datagrams that wait at a socket, many with one system call. */
export class DatagramReader {
  readonly #memory: Buffer;
  readonly #headers: Buffer;
  readonly #vectors: Buffer;

  constructor(
    readonly fd: number,
    /** Longest datagram; the rest of a longer one is dropped. */
    private readonly size: number,
    /** Datagrams per call. */
    private readonly count: number,
  ) {
    const { ptr } = ffi();
    this.#memory = Buffer.alloc(size * count);
    this.#headers = Buffer.alloc(MMSGHDR_SIZE * count);
    this.#vectors = Buffer.alloc(16 * count);
    const memory = BigInt(ptr(this.#memory));
    const vectors = BigInt(ptr(this.#vectors));
    for (let index = 0; index < count; index++) {
      this.#vectors.writeBigUInt64LE(memory + BigInt(size * index), 16 * index);
      this.#vectors.writeBigUInt64LE(BigInt(size), 16 * index + 8);
      this.#headers.writeBigUInt64LE(vectors + BigInt(16 * index), MMSGHDR_SIZE * index + 16);
      this.#headers.writeBigUInt64LE(1n, MMSGHDR_SIZE * index + 24);
    }
  }

  /** Gives each datagram that is there to `take`, which must not keep it; how many there were, at most `count`. */
  read(take: (datagram: Buffer) => void): number {
    const received = libc().recvmmsg(
      this.fd,
      ffi().ptr(this.#headers),
      this.count,
      MSG_DONTWAIT,
      null,
    ) as number;
    for (let index = 0; index < received; index++) {
      const length = this.#headers.readUInt32LE(MMSGHDR_SIZE * index + 56);
      if (length > 0) take(this.#memory.subarray(this.size * index, this.size * index + length));
    }
    if (received >= 0) return received;
    const code = errno();
    if (code === 11 || code === 4) return 0;
    throw new SysError("recvmmsg", code, String(this.fd));
  }
}

const ENOTSOCK = 88;
/** An end of a connection that is not there any more. */
const GONE = { address: "", port: 0 };

/**
 * Address (IPv6 in its long form) and port of an end of an internet connection: the empty address when the connection is gone, undefined for
 * any other descriptor.
 */
function endOf(
  call: "getpeername" | "getsockname",
  fd: number,
): { readonly address: string; readonly port: number } | undefined {
  const name = socketName;
  socketNameSize[0] = name.length;
  if (libc()[call](fd, ffi().ptr(name), ffi().ptr(socketNameSize)) !== 0)
    return errno() === ENOTSOCK ? undefined : GONE;
  const family = name.readUInt16LE(0);
  const port = name.readUInt16BE(2);
  if (family === AF_INET) return { address: `${name[4]}.${name[5]}.${name[6]}.${name[7]}`, port };
  if (family !== AF_INET6) return undefined;
  const groups = Array.from({ length: 8 }, (_, index) => name.readUInt16BE(8 + 2 * index).toString(16));
  return { address: groups.join(":"), port };
}
const socketName = Buffer.alloc(128);
const socketNameSize = new Uint32Array(1);

/** Where a client of an inet service comes from; `remoteAddress` is empty when it is gone already. */
export interface PeerAddress {
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
}

/**
 * Both ends of an internet connection with two system calls (Bun's properties take one for each address and each port); undefined for any other
 * descriptor.
 */
export function endsOf(fd: number): PeerAddress | undefined {
  const remote = endOf("getpeername", fd);
  const local = remote === undefined ? undefined : endOf("getsockname", fd);
  if (remote === undefined || local === undefined) return undefined;
  return {
    remoteAddress: remote.address,
    remotePort: remote.port,
    localAddress: local.address,
    localPort: local.port,
  };
}

/** One recv() without waiting into `buffer`: the byte count, or undefined when nothing is there. */
export function receiveBytes(fd: number, buffer: Uint8Array): number | undefined {
  const count = Number(libc().recv(fd, ffi().ptr(buffer), buffer.length, MSG_DONTWAIT));
  if (count >= 0) return count;
  const code = errno();
  if (code === 11 || code === 4) return undefined;
  throw new SysError("recv", code, String(fd));
}

/** accept4() without waiting: the descriptor (close-on-exec, non-blocking), or undefined when no client waits. */
export function acceptSocket(listener: number): number | undefined {
  const fd = libc().accept4(listener, null, null, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd >= 0) return fd;
  const code = errno();
  if (code === 11 || code === 4 || code === 103) return undefined;
  throw new SysError("accept", code, String(listener));
}

const CONTROL_SIZE = 24;
/** struct msghdr with one data byte and room for one descriptor (cmsg_len = CMSG_LEN(sizeof(int)) = 20). */
function descriptorMessage(data: Buffer, control: Buffer): { header: Buffer; keep: Buffer[] } {
  const { ptr } = ffi();
  const vector = Buffer.alloc(16);
  vector.writeBigUInt64LE(BigInt(ptr(data)), 0);
  vector.writeBigUInt64LE(1n, 8);
  const header = Buffer.alloc(56);
  header.writeBigUInt64LE(BigInt(ptr(vector)), 16);
  header.writeBigUInt64LE(1n, 24);
  header.writeBigUInt64LE(BigInt(ptr(control)), 32);
  header.writeBigUInt64LE(BigInt(CONTROL_SIZE), 40);
  return { header, keep: [vector, data, control] };
}

/** Passes a descriptor with one NUL byte (ipc.md 3.7). Blocks when the socket does. */
export function sendDescriptor(socket: number, fd: number): void {
  const control = Buffer.alloc(CONTROL_SIZE);
  control.writeBigUInt64LE(20n, 0);
  control.writeInt32LE(SOL_SOCKET, 8);
  control.writeInt32LE(1, 12);
  control.writeInt32LE(fd, 16);
  const { header, keep } = descriptorMessage(Buffer.alloc(1), control);
  uninterrupted("sendmsg", String(socket), () => libc().sendmsg(socket, ffi().ptr(header), MSG_NOSIGNAL));
  keep.length = 0;
}

/** Receives a descriptor: the descriptor (close-on-exec), `"wait"` when nothing is there, `"end"` at end of file or when the byte came without one. */
export function receiveDescriptor(socket: number): number | "wait" | "end" {
  const control = Buffer.alloc(CONTROL_SIZE);
  const { header, keep } = descriptorMessage(Buffer.alloc(1), control);
  const MSG_CMSG_CLOEXEC = 0x40000000;
  const count = Number(libc().recvmsg(socket, ffi().ptr(header), MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
  keep.length = 0;
  if (count < 0) {
    const code = errno();
    if (code === 11 || code === 4) return "wait";
    throw new SysError("recvmsg", code, String(socket));
  }
  const passed = control.readBigUInt64LE(0) === 20n && control.readInt32LE(12) === 1;
  return count === 1 && passed ? control.readInt32LE(16) : "end";
}

/** Opens a FIFO for writing without waiting; undefined when nobody reads it. */
export const FIFO_WRITE = constants.O_WRONLY | constants.O_NONBLOCK;

/** Which of the descriptors can be read without waiting. */
export function readableNow(fds: ReadonlyArray<number>): ReadonlySet<number> {
  if (fds.length === 0) return new Set();
  const POLLIN = 1;
  const polls = Buffer.alloc(8 * fds.length);
  fds.forEach((fd, index) => {
    polls.writeInt32LE(fd, 8 * index);
    polls.writeInt16LE(POLLIN, 8 * index + 4);
  });
  uninterrupted("poll", "", () => libc().poll(ffi().ptr(polls), fds.length, 0));
  return new Set(fds.filter((_fd, index) => (polls.readInt16LE(8 * index + 6) & POLLIN) !== 0));
}
