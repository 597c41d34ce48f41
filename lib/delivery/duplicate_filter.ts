/** Remembers what was delivered, so that a recipient reached by two ways gets one copy. Keys are compared without case. */
import { foldCase } from "../tables/casefold.ts";

export class DuplicateFilter {
  readonly #seen = new Set<string>();

  /** `limit`: duplicate_filter_limit; 0 means none. */
  constructor(
    private readonly limit: number,
    private readonly utf8: boolean,
  ) {}

  /** True when the key was seen before; else it is remembered, while there is room. */
  seen(key: string): boolean {
    const folded = foldCase(key, this.utf8);
    if (this.#seen.has(folded)) return true;
    if (this.limit === 0 || this.#seen.size < this.limit) this.#seen.add(folded);
    return false;
  }

  has(key: string): boolean {
    return this.#seen.has(foldCase(key, this.utf8));
  }
}
