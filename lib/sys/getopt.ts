/** getopt() as POSIX has it: parsing stops at the first word that is no option; letters bundle; the program sees each word before it is taken. */

export type GotOption =
  | { readonly kind: "option"; readonly letter: string; readonly argument: string }
  /** A letter that the program does not know, or an option without its argument; the C library's line says which. */
  | { readonly kind: "invalid"; readonly text: string }
  | { readonly kind: "end" };

export class Getopt {
  /** Index of the word that is looked at next; after the end, of the first operand. */
  index = 0;
  /** Position within a word of bundled letters; 0 between words. */
  #within = 0;

  constructor(
    readonly words: ReadonlyArray<string>,
    /** Option letters, each with `:` when it takes an argument. */
    private readonly letters: string,
  ) {}

  /** The word that is looked at next. */
  get word(): string | undefined {
    return this.words[this.index];
  }

  /** Passes over a word that the program has dealt with itself. */
  skip(count = 1): void {
    this.index += count;
    this.#within = 0;
  }

  next(): GotOption {
    const word = this.words[this.index];
    if (this.#within === 0) {
      if (word === undefined || word.length < 2 || word[0] !== "-") return { kind: "end" };
      if (word === "--") {
        this.index++;
        return { kind: "end" };
      }
      this.#within = 1;
    }
    if (word === undefined) return { kind: "end" };
    const letter = word.charAt(this.#within++);
    const at = letter === ":" ? -1 : this.letters.indexOf(letter);
    const last = this.#within >= word.length;
    if (at >= 0 && this.letters[at + 1] === ":") {
      const joined = word.slice(this.#within);
      this.skip();
      if (joined !== "") return { kind: "option", letter, argument: joined };
      const argument = this.words[this.index];
      if (argument === undefined)
        return { kind: "invalid", text: `option requires an argument -- '${letter}'` };
      this.index++;
      return { kind: "option", letter, argument };
    }
    if (last) this.skip();
    return at < 0
      ? { kind: "invalid", text: `invalid option -- '${letter}'` }
      : { kind: "option", letter, argument: "" };
  }
}
