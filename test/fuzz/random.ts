/** Numbers that a seed repeats, and damage done to inputs. */

export class Random {
  #state: number;
  constructor(readonly seed: number) {
    this.#state = seed >>> 0;
  }
  /** 32 bits (mulberry32). */
  word(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let value = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return (value ^ (value >>> 14)) >>> 0;
  }
  /** 0 to limit - 1. */
  below(limit: number): number {
    return limit <= 1 ? 0 : this.word() % limit;
  }
  chance(oneIn: number): boolean {
    return this.below(oneIn) === 0;
  }
  pick<T>(items: ReadonlyArray<T>): T {
    return items[this.below(items.length)] as T;
  }
  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)));
  }
}

const EDGES = [0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 0x7fffffff, 0x80000000, 0xffffffff];
const LIMIT = 64 * 1024;

/** An input made of seeds, words that mean something to the format, and damage. */
export function mutate(random: Random, seeds: ReadonlyArray<Buffer>, words: ReadonlyArray<string>): Buffer {
  let input: Buffer = Buffer.from(random.pick(seeds));
  for (let times = 1 + random.below(6); times > 0; times--) input = damage(random, input, seeds, words);
  return input.subarray(0, LIMIT);
}

function damage(
  random: Random,
  input: Buffer,
  seeds: ReadonlyArray<Buffer>,
  words: ReadonlyArray<string>,
): Buffer {
  const at = random.below(input.length + 1);
  const length = random.below(Math.min(64, input.length - at + 1));
  const splice = (insert: Uint8Array, remove: number): Buffer =>
    Buffer.concat([input.subarray(0, at), insert, input.subarray(at + remove)]);
  switch (random.below(9)) {
    case 0:
      if (input.length > 0) input[random.below(input.length)] = random.below(256);
      return input;
    case 1:
      return splice(random.bytes(1 + random.below(8)), 0);
    case 2:
      return splice(Buffer.alloc(0), length);
    case 3:
      return splice(input.subarray(at, at + length), 0);
    case 4: {
      const edge = Buffer.alloc(4);
      edge.writeUInt32LE(random.pick(EDGES));
      const size = random.pick([1, 2, 4]);
      return splice(
        random.chance(2) ? edge.subarray(0, size) : Buffer.from(edge.subarray(0, size)).reverse(),
        size,
      );
    }
    case 5: {
      const other = random.pick(seeds);
      const start = random.below(other.length + 1);
      return splice(other.subarray(start, start + random.below(200)), 0);
    }
    case 6:
      return input.subarray(0, at);
    case 7:
      return splice(
        Buffer.from(random.pick(words).repeat(1 + (random.chance(8) ? random.below(300) : 0)), "latin1"),
        0,
      );
    default:
      return splice(Buffer.from(random.pick(words), "latin1"), length);
  }
}
