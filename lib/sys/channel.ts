/** A buffered duplex byte stream over a socket, with deadlines and limits, for one reader at a time. */
import { type TimedWait, unwatch, watch } from "./deadlines.ts";
import { SysError } from "./errno.ts";
import { SpareBuffers } from "./spare_buffers.ts";
import type { Soon } from "./when.ts";

/** What a Channel needs of the socket below it; Bun's sockets have it, tests bring their own. */
export interface Transport {
  /** Takes what fits and returns how many bytes that was; -1 when the socket is closed. */
  write(bytes: Uint8Array): number;
  /** Sends what was taken, then closes the sending side and, when the peer is done, the socket. */
  end(): void;
  /** Drops the connection at once. */
  terminate(): void;
  pause(): void;
  resume(): void;
  readonly fd?: number;
}

/** Thrown when no progress was made within the time limit. */
export class ChannelTimeout extends Error {
  constructor(name: string) {
    super(`timeout on ${name}`);
    this.name = "ChannelTimeout";
  }
}

/** Reading stops above this many buffered bytes until the program has consumed some, or waits for more all the same. */
const HIGH_WATER = 256 * 1024;
const EMPTY = Buffer.alloc(0);
/** Small writes are gathered in one buffer of this size before they reach the socket. */
const GATHER = 16 * 1024;
const gathers = new SpareBuffers(GATHER, 128);

/** Somebody waits for input, or for room for output. */
class Waiter implements TimedWait {
  constructor(
    readonly expires: number,
    readonly resolve: () => void,
    readonly reject: (error: Error) => void,
    readonly onExpiry: (waiter: Waiter) => void,
  ) {}
  expire(): void {
    this.onExpiry(this);
  }
}

export class Channel {
  /** Name in log messages, such as `cleanup socket` or `private/rewrite socket`. */
  name: string;
  /** Time limit of one read or write operation in seconds; 0 means none. */
  timeLimit: number;
  /** Total bytes received and sent. */
  received = 0;
  sent = 0;

  #transport: Transport | undefined;
  #input: Buffer = EMPTY;
  #inputStart = 0;
  #inputEnd = 0;
  #ended = false;
  #closed = false;
  #failure: Error | undefined;
  #paused = false;
  #output: Uint8Array[] = [];
  #outputSize = 0;
  #gather: Buffer | undefined;
  #gathered = 0;
  #readWaiter: Waiter | undefined;
  #writeWaiter: Waiter | undefined;
  readonly #closeListeners = new Set<() => void>();
  /** Absolute time (performance.now()) after which every wait fails; 0 when there is none. */
  #deadline = 0;

  constructor(name: string, timeLimit = 0) {
    this.name = name;
    this.timeLimit = timeLimit;
  }

  // --- the socket's side -------------------------------------------------------------------------

  attach(transport: Transport): void {
    this.#transport = transport;
  }

  /** Input arrived. The chunk is kept, not copied, when nothing is buffered. */
  onData(chunk: Uint8Array): void {
    this.received += chunk.length;
    const buffered = this.#inputEnd - this.#inputStart;
    if (buffered === 0) {
      this.#input =
        chunk instanceof Buffer ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
      this.#inputStart = 0;
      this.#inputEnd = chunk.length;
    } else {
      this.#append(chunk, buffered);
    }
    if (this.#inputEnd - this.#inputStart > HIGH_WATER && !this.#paused) {
      this.#paused = true;
      this.#transport?.pause();
    }
    this.#wakeReader();
  }

  #append(chunk: Uint8Array, buffered: number): void {
    const needed = buffered + chunk.length;
    // the first chunk belongs to the socket; a buffer of our own has room to grow, so that many small chunks stay linear
    if (this.#input.length - this.#inputStart >= needed && this.#input.length >= 2 * GATHER) {
      this.#input.set(chunk, this.#inputEnd);
      this.#inputEnd += chunk.length;
      return;
    }
    const grown = Buffer.allocUnsafeSlow(Math.max(2 * GATHER, 2 * needed));
    grown.set(this.#input.subarray(this.#inputStart, this.#inputEnd), 0);
    grown.set(chunk, buffered);
    this.#input = grown;
    this.#inputStart = 0;
    this.#inputEnd = needed;
  }

  /** The peer has finished sending. */
  onEnd(): void {
    this.#ended = true;
    this.#wakeReader();
  }

  /** The socket is gone. */
  onClose(error?: Error): void {
    if (this.#closed) return;
    this.#ended = true;
    this.#closed = true;
    this.#failure ??= error;
    this.#transport = undefined;
    this.#output = [];
    this.#outputSize = 0;
    if (this.#gather !== undefined) {
      gathers.give(this.#gather);
      this.#gather = undefined;
      this.#gathered = 0;
    }
    this.#wakeReader();
    this.#wakeWriter();
    const listeners = [...this.#closeListeners];
    this.#closeListeners.clear();
    for (const listener of listeners) listener();
  }

  /** The socket can take more output. */
  onDrain(): void {
    this.#push();
    if (this.#outputSize === 0) this.#wakeWriter();
  }

  #wakeReader(): void {
    const waiter = this.#readWaiter;
    if (waiter === undefined) return;
    this.#readWaiter = undefined;
    this.#wake(waiter);
  }
  #wakeWriter(): void {
    const waiter = this.#writeWaiter;
    if (waiter === undefined) return;
    this.#writeWaiter = undefined;
    this.#wake(waiter);
  }
  #wake(waiter: Waiter): void {
    if (waiter.expires < Number.POSITIVE_INFINITY) unwatch(waiter);
    waiter.resolve();
  }

  // --- reading -----------------------------------------------------------------------------------

  /** Bytes that can be read without waiting. */
  get buffered(): number {
    return this.#inputEnd - this.#inputStart;
  }
  /** The peer will send no more and everything was consumed. */
  get atEnd(): boolean {
    return this.#ended && this.#inputEnd === this.#inputStart;
  }
  /** The socket is gone (both directions). */
  get closed(): boolean {
    return this.#closed;
  }
  /** Something would be noticed by a read: input, end of file or an error. */
  get readable(): boolean {
    return this.#ended || this.#inputEnd > this.#inputStart;
  }
  /** The error with which the connection ended, if any. */
  get failure(): Error | undefined {
    return this.#failure;
  }
  get fd(): number | undefined {
    return this.#transport?.fd;
  }

  /** A view of what is buffered; valid until the next wait. */
  peek(): Buffer {
    return this.#input.subarray(this.#inputStart, this.#inputEnd);
  }

  /** Drops the first bytes of what is buffered. */
  consume(count: number): void {
    this.#inputStart += count;
    if (this.#inputStart >= this.#inputEnd) {
      this.#input = EMPTY;
      this.#inputStart = 0;
      this.#inputEnd = 0;
    }
    if (this.#paused && this.#inputEnd - this.#inputStart <= HIGH_WATER / 2) {
      this.#paused = false;
      this.#transport?.resume();
    }
  }

  /** Waits until more input is buffered than now. False at end of file. Throws ChannelTimeout, or the connection's error. */
  more(): Promise<boolean> {
    return new Promise((resolve, reject) => this.#awaitMore(this.buffered, resolve, reject));
  }

  #awaitMore(before: number, resolve: (more: boolean) => void, reject: (error: Error) => void): void {
    if (this.buffered !== before) resolve(true);
    else if (this.#ended && this.#failure !== undefined) reject(this.#failure);
    else if (this.#ended) resolve(false);
    else if (this.#readWaiter !== undefined) reject(new Error(`two readers on ${this.name}`));
    else {
      if (this.#paused) {
        this.#paused = false;
        this.#transport?.resume();
      }
      this.#readWaiter = this.#waiter(() => this.#awaitMore(before, resolve, reject), reject);
    }
  }

  /** Exactly `count` bytes, or undefined when the peer ends before. */
  async readExactly(count: number): Promise<Buffer | undefined> {
    while (this.buffered < count) if (!(await this.more())) return undefined;
    const bytes = this.peek().subarray(0, count);
    this.consume(count);
    return bytes;
  }

  /**
   * The bytes up to and without the delimiter; the delimiter is consumed. `"end"` when the peer ends before (what came
   * stays buffered), `"long"` when `limit` bytes hold no delimiter.
   */
  async readUntil(delimiter: number, limit: number): Promise<Buffer | "end" | "long"> {
    let searched = 0;
    for (;;) {
      const view = this.peek();
      const at = view.indexOf(delimiter, searched);
      if (at >= 0 && at <= limit) {
        const bytes = view.subarray(0, at);
        this.consume(at + 1);
        return bytes;
      }
      if (at >= 0 || view.length > limit) return "long";
      searched = view.length;
      if (!(await this.more())) return "end";
    }
  }

  /** Waits for the peer's close and discards what it sends until then. */
  async drain(): Promise<void> {
    do this.consume(this.buffered);
    while (await this.more());
  }

  // --- writing -----------------------------------------------------------------------------------

  /** Queues output. Nothing reaches the socket before flush(), or before a large amount has gathered. */
  write(data: Uint8Array | string): void {
    if (this.#closed) return;
    if (typeof data === "string") {
      if (data.length <= GATHER) {
        const gather = this.#room(data.length);
        gather.write(data, this.#gathered, "latin1");
        this.#gathered += data.length;
        return;
      }
      data = Buffer.from(data, "latin1");
    }
    if (data.length === 0) return;
    if (data.length <= GATHER / 4) {
      this.#room(data.length).set(data, this.#gathered);
      this.#gathered += data.length;
      return;
    }
    this.#seal();
    this.#output.push(data);
    this.#outputSize += data.length;
  }

  #room(size: number): Buffer {
    if (this.#gather !== undefined && this.#gathered + size > this.#gather.length) this.#seal();
    this.#gather ??= gathers.take();
    return this.#gather;
  }
  #seal(): void {
    if (this.#gather === undefined || this.#gathered === 0) return;
    this.#output.push(this.#gather.subarray(0, this.#gathered));
    this.#outputSize += this.#gathered;
    this.#gather = undefined;
    this.#gathered = 0;
  }

  /** Bytes queued here that the socket has not taken. */
  get unsent(): number {
    return this.#outputSize + this.#gathered;
  }

  #push(): void {
    while (this.#output.length > 0 && this.#transport !== undefined) {
      const chunk = this.#output.length === 1 ? this.#output[0] : Buffer.concat(this.#output);
      if (chunk === undefined) return;
      const taken = this.#transport.write(chunk);
      if (taken < 0) return;
      this.sent += taken;
      this.#outputSize -= taken;
      if (taken < chunk.length) {
        this.#output = [chunk.subarray(taken)];
        return;
      }
      this.#output = [];
    }
  }

  /** Hands queued output to the socket as far as it takes it, without waiting. */
  push(): void {
    if (this.#output.length === 0 && this.#gather !== undefined && this.#gathered > 0) {
      // the common case: one small reply, no list needed
      const bytes = this.#gather.subarray(0, this.#gathered);
      const taken = this.#transport === undefined ? -1 : this.#transport.write(bytes);
      if (taken === bytes.length) {
        this.sent += taken;
        this.#gathered = 0;
        gathers.give(this.#gather);
        this.#gather = undefined;
        return;
      }
      if (taken > 0) {
        this.sent += taken;
        this.#gather = undefined;
        this.#gathered = 0;
        this.#output.push(bytes.subarray(taken));
        this.#outputSize += bytes.length - taken;
        return;
      }
    }
    this.#seal();
    this.#push();
  }

  /** Sends everything queued; done when the kernel has taken it. Throws ChannelTimeout, or EPIPE when the peer is gone. */
  flush(): Soon<void> {
    this.push();
    if (this.#outputSize > 0 || this.#closed) return this.#flushed();
  }

  async #flushed(): Promise<void> {
    while (this.#outputSize > 0 && !this.#closed)
      await new Promise<void>((resolve, reject) => {
        this.#writeWaiter = this.#waiter(resolve, reject);
      });
    if (this.#closed) throw this.#failure ?? new SysError("write", 32, this.name);
  }

  // --- time and end ------------------------------------------------------------------------------

  /** From now on every wait must end within `seconds` in all (a deadline over many operations); 0 removes it. */
  setDeadline(seconds: number): void {
    this.#deadline = seconds === 0 ? 0 : performance.now() + seconds * 1000;
  }

  #waiter(resolve: () => void, reject: (error: Error) => void): Waiter {
    const expires = this.#expiry();
    const waiter = new Waiter(expires, resolve, reject, this.#onExpiry);
    if (expires < Number.POSITIVE_INFINITY) watch(waiter);
    return waiter;
  }
  readonly #onExpiry = (waiter: Waiter): void => {
    if (this.#readWaiter === waiter) this.#readWaiter = undefined;
    if (this.#writeWaiter === waiter) this.#writeWaiter = undefined;
    waiter.reject(new ChannelTimeout(this.name));
  };
  /** When a wait that begins now fails, on the clock of performance.now(). */
  #expiry(): number {
    const deadline = this.#deadline > 0 ? this.#deadline : Number.POSITIVE_INFINITY;
    return this.timeLimit > 0 ? Math.min(performance.now() + this.timeLimit * 1000, deadline) : deadline;
  }

  /** Called once when the socket is gone; at once when it is gone already. Returns the function that takes it back. */
  onceClosed(listener: () => void): () => void {
    if (this.#closed) listener();
    else this.#closeListeners.add(listener);
    return () => void this.#closeListeners.delete(listener);
  }

  /** Sends what is queued as far as the socket takes it and closes. Done when the socket is gone, or after 5 s of a peer that does not read. */
  close(): Soon<void> {
    if (this.#closed) return;
    this.push();
    if (this.#outputSize > 0) return this.#closeWaiting();
    this.destroy();
  }

  async #closeWaiting(): Promise<void> {
    this.timeLimit = this.timeLimit > 0 ? Math.min(this.timeLimit, 5) : 5;
    try {
      await this.flush();
    } catch (error) {
      if (!(error instanceof Error)) throw error;
    }
    this.destroy();
  }

  /** Nothing more is read from the socket until resume(): what arrives stays in the kernel, for recvmsg() or for another process. */
  pause(): void {
    this.#transport?.pause();
  }
  resume(): void {
    if (!this.#paused) this.#transport?.resume();
  }

  /** Lets go of the socket without telling the peer anything: somebody else has a descriptor of it (sockets.ts, releaseSocket). */
  abandon(): void {
    this.#transport?.terminate();
    this.onClose();
  }

  /** Closes at once; queued output that the socket has not taken is lost. */
  destroy(): void {
    const transport = this.#transport;
    if (transport === undefined) {
      this.onClose();
      return;
    }
    transport.end();
    transport.terminate();
    this.onClose();
  }
}
