/** `environ:anything`: the process environment, unless the process has more rights than its caller. */

import { environmentVariable, setEnvironmentVariable } from "../../sys/environment.ts";
import { effectiveGid, effectiveUid, realGid, realUid } from "../../sys/identity.ts";
import {
  ABSENT,
  DONE,
  found,
  type LookupResult,
  type OpenType,
  type StoreResult,
  type Table,
  TableFlag,
  TRUSTED,
} from "../table.ts";
import { foldFixedKey } from "./memory.ts";

const safe = (): boolean => realUid() === effectiveUid() && realGid() === effectiveGid();

class EnvironmentTable implements Table {
  readonly fixed = true;
  readonly owner = TRUSTED;
  constructor(
    readonly name: string,
    public flags: number,
  ) {}
  lookup(key: string): LookupResult {
    const name = foldFixedKey(this.flags, key);
    const value = safe() ? environmentVariable(name) : undefined;
    return value === undefined ? ABSENT : found(value);
  }
  /** Changes the environment of this process alone. */
  update(key: string, value: string): StoreResult {
    setEnvironmentVariable(foldFixedKey(this.flags, key), value);
    return DONE;
  }
  changed(): boolean {
    return false;
  }
  close(): void {}
}

export const openEnviron: OpenType = (name, options) =>
  Promise.resolve(new EnvironmentTable(`environ:${name}`, options.flags | TableFlag.fixed));
