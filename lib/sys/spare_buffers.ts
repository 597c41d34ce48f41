/** Buffers that are used again: fresh memory for each message costs page faults, and work of the collector. */

export class SpareBuffers {
  readonly #spare: Buffer[] = [];

  constructor(
    /** Bytes of each buffer. */
    readonly size: number,
    /** More spare ones than this are left to the collector. */
    private readonly limit: number,
  ) {}

  take(): Buffer {
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(this.size);
  }

  /** Gives a buffer back that nobody looks at any more; one of another size is ignored. */
  give(buffer: Buffer): void {
    if (buffer.length === this.size && this.#spare.length < this.limit) this.#spare.push(buffer);
  }
}
