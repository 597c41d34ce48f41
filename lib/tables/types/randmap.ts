/** `randmap:{a, {b c}}`: one of the texts at random. */
import { splitBraced, unwrapBraces } from "../../config/lists.ts";
import { contentsOf } from "../file_value.ts";
import {
  found,
  type LookupResult,
  type OpenType,
  type Table,
  TableFlag,
  TableOpenError,
  TRUSTED,
} from "../table.ts";

class RandomTable implements Table {
  readonly fixed = false;
  readonly owner = TRUSTED;
  constructor(
    readonly name: string,
    public flags: number,
    private readonly values: ReadonlyArray<string>,
  ) {}
  lookup(): LookupResult {
    return found(this.values[Math.floor(Math.random() * this.values.length)] ?? "");
  }
  changed(): boolean {
    return false;
  }
  close(): void {}
}

export const openRandmap: OpenType = (name, options) => {
  const inner = unwrapBraces(name);
  const values = inner.ok ? splitBraced(inner.text) : [];
  if (values.length === 0)
    throw new TableOpenError(`bad syntax: "randmap:${name}"; need "randmap:{value...}"`);
  const files = (options.flags & TableFlag.src_rhs_is_file) !== 0;
  const results = files ? values.map((list) => contentsOf(list)) : values;
  return Promise.resolve(new RandomTable(`randmap:${name}`, options.flags | TableFlag.pattern, results));
};
