/** Buffers records, so that many of them take one write: to a queue file (RecordWriter) or to a stream (RecordBuffer). */
import { SpareBuffers } from "../sys/spare_buffers.ts";
import type { FileSystem } from "./file_system.ts";
import { paddingData, padNumber, putRecordHeader, Rec, recordSize } from "./records.ts";

const EMPTY = Buffer.alloc(0);

/** Shorter texts are copied byte by byte, which a call of the runtime's function would cost more than. */
const SHORT = 32;

/** Most messages fit into one of these. */
const spares = new SpareBuffers(16 * 1024, 128);

/** A growing piece of memory with encoded records; `take()` hands it over. */
export class RecordBuffer {
  #buffer: Buffer = EMPTY;
  #length = 0;

  /** Memory is taken with the first record. */
  constructor(private readonly capacity: number = 4096) {}

  /** Bytes held. */
  get length(): number {
    return this.#length;
  }

  /** Appends a record. */
  put(type: number, data: string | Uint8Array = ""): void {
    const size = recordSize(data.length);
    if (this.#length + size > this.#buffer.length) this.#grow(this.#length + size);
    const at = putRecordHeader(this.#buffer, this.#length, type, data.length);
    if (typeof data !== "string") this.#buffer.set(data, at);
    else if (data.length > SHORT) this.#buffer.write(data, at, "latin1");
    else for (let index = 0; index < data.length; index++) this.#buffer[at + index] = data.charCodeAt(index);
    this.#length += size;
  }

  /** Appends a record whose data is a part of a larger buffer, without making a view of it. */
  putSlice(type: number, source: Buffer, start: number, end: number): void {
    const size = recordSize(end - start);
    if (this.#length + size > this.#buffer.length) this.#grow(this.#length + size);
    const at = putRecordHeader(this.#buffer, this.#length, type, end - start);
    source.copy(this.#buffer, at, start, end);
    this.#length += size;
  }

  /** Appends bytes that are records already. */
  append(records: Uint8Array): void {
    if (this.#length + records.length > this.#buffer.length) this.#grow(this.#length + records.length);
    this.#buffer.set(records, this.#length);
    this.#length += records.length;
  }

  /** The bytes so far, without copying; the buffer starts anew with fresh memory. */
  take(): Buffer {
    const taken = this.#buffer.subarray(0, this.#length);
    if (this.#length > 0) this.#buffer = EMPTY;
    this.#length = 0;
    return taken;
  }

  /** A view of the bytes so far, for a write that is complete before anything is added; then `clear()`. */
  view(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  clear(): void {
    this.#length = 0;
  }

  /** Drops the bytes; nobody looks at them any more. */
  release(): void {
    spares.give(this.#buffer);
    this.#buffer = EMPTY;
    this.#length = 0;
  }

  #grow(needed: number): void {
    const size = Math.max(needed, this.#buffer.length * 2, this.capacity);
    const larger = size <= spares.size ? spares.take() : Buffer.allocUnsafeSlow(size);
    larger.set(this.#buffer.subarray(0, this.#length));
    spares.give(this.#buffer);
    this.#buffer = larger;
  }
}

const FLUSH_AT = 64 * 1024;

/** Writes records to a file: appended through a buffer, or over existing bytes. Failed writes are thrown. */
export class RecordWriter {
  #pending = new RecordBuffer(16 * 1024);
  /** File offset of the first pending byte. */
  #base: number;

  constructor(
    private readonly files: FileSystem,
    readonly fd: number,
    start = 0,
  ) {
    this.#base = start;
  }

  /** Offset at which the next record will stand. */
  get position(): number {
    return this.#base + this.#pending.length;
  }

  /** Appends a record and gives its offset. */
  put(type: number, data: string | Uint8Array = ""): number {
    const offset = this.position;
    if (this.#pending.length > 0 && this.#pending.length + data.length > FLUSH_AT) this.flush();
    this.#pending.put(type, data);
    return offset;
  }

  /** Appends `name=value`. */
  putAttribute(name: string, value: string | number): number {
    return this.put(Rec.ATTRIBUTE, `${name}=${value}`);
  }

  /** Appends a pointer to an offset (0: a place for one). */
  putPointer(target: number): number {
    return this.put(Rec.POINTER, padNumber(target));
  }

  /** Appends padding that occupies max(3, size) bytes. */
  putPadding(size: number, type: number = Rec.PADDING): number {
    return this.put(type, paddingData(size));
  }

  /** Appends bytes that are records already. */
  append(records: Uint8Array): void {
    if (this.#pending.length + records.length > FLUSH_AT) this.flush();
    this.#pending.append(records);
  }

  /** Writes what is pending. */
  flush(): void {
    const bytes = this.#pending.view();
    if (bytes.length === 0) return;
    this.#writeAt(bytes, this.#base);
    this.#base += bytes.length;
    this.#pending.clear();
  }

  /** No more is written: what is pending is lost. */
  release(): void {
    this.#base = this.position;
    this.#pending.release();
  }

  /** Writes over what stands at an offset, without moving the position. */
  overwrite(offset: number, bytes: Uint8Array): void {
    if (offset >= this.#base && offset + bytes.length <= this.position) {
      this.#pending.view().set(bytes, offset - this.#base);
      return;
    }
    this.flush();
    this.#writeAt(bytes, offset);
  }

  /** Continues at another offset. */
  seek(offset: number): void {
    this.flush();
    this.#base = offset;
  }

  #writeAt(bytes: Uint8Array, offset: number): void {
    let done = 0;
    while (done < bytes.length)
      done += this.files.write(this.fd, bytes, done, bytes.length - done, offset + done);
  }
}
