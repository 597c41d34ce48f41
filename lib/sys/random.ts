/** Random numbers that nobody can guess. (node:crypto would bring its streams into every daemon at its start.) */

const RANGE = 2 ** 32;

/** An integer from 0 up to and without `limit`, which is at most 2^32; every one with the same chance. */
export function randomInt(limit: number): number {
  const usable = RANGE - (RANGE % limit);
  const word = new Uint32Array(1);
  for (;;) {
    const value = crypto.getRandomValues(word)[0] ?? 0;
    if (value < usable) return value % limit;
  }
}
