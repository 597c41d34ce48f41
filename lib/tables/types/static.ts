/** `static:text`: one value for every key; `fail:anything`: no lookup ever succeeds. */
import { unwrapBraces } from "../../config/lists.ts";
import {
  found,
  type LookupResult,
  type OpenType,
  RETRY,
  type SequenceResult,
  type Table,
  TableFlag,
  TableOpenError,
  TRUSTED,
} from "../table.ts";

class ConstantTable implements Table {
  readonly owner = TRUSTED;
  constructor(
    readonly name: string,
    readonly fixed: boolean,
    public flags: number,
    private readonly result: LookupResult,
  ) {}
  lookup(): LookupResult {
    return this.result;
  }
  changed(): boolean {
    return false;
  }
  close(): void {}
}

export const openStatic: OpenType = (name, options) => {
  let value = name;
  if (name.startsWith("{")) {
    const inner = unwrapBraces(name);
    if (!inner.ok) throw new TableOpenError(`bad static:name syntax: ${inner.problem}`);
    value = inner.text;
  }
  return Promise.resolve(
    new ConstantTable(`static:${name}`, true, options.flags | TableFlag.fixed, found(value)),
  );
};

class FailingTable extends ConstantTable {
  sequence(): SequenceResult {
    return RETRY;
  }
}

export const openFail: OpenType = (name, options) =>
  Promise.resolve(new FailingTable(`fail:${name}`, false, options.flags | TableFlag.pattern, RETRY));
