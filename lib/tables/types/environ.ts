/** `environ:anything`: the process environment, unless the process has more rights than its caller. */
import { encodeUtf8 } from "../../sys/bytes.ts";
import { effectiveGid, effectiveUid, realGid, realUid } from "../../sys/identity.ts";
import {
  ABSENT,
  found,
  type LookupResult,
  type OpenType,
  type SequenceResult,
  type Table,
  TableFlag,
  TRUSTED,
} from "../table.ts";
import { foldFixedKey } from "./memory.ts";

const safe = (): boolean => realUid() === effectiveUid() && realGid() === effectiveGid();

class EnvironmentTable implements Table {
  readonly fixed = true;
  readonly owner = TRUSTED;
  private cursor: Iterator<[string, string | undefined]> | undefined;
  constructor(
    readonly name: string,
    public flags: number,
  ) {}
  lookup(key: string): Promise<LookupResult> {
    const name = foldFixedKey(this.flags, key);
    const value = safe() && Object.hasOwn(process.env, name) ? process.env[name] : undefined;
    return Promise.resolve(value === undefined ? ABSENT : found(encodeUtf8(value)));
  }
  sequence(position: "first" | "next"): Promise<SequenceResult> {
    if (position === "first" || this.cursor === undefined) this.cursor = Object.entries(process.env).values();
    const next = this.cursor.next();
    if (next.done === true || !safe()) return Promise.resolve(ABSENT);
    return Promise.resolve({
      kind: "found",
      key: encodeUtf8(next.value[0]),
      value: encodeUtf8(next.value[1] ?? ""),
    });
  }
  changed(): boolean {
    return false;
  }
  close(): void {}
}

export const openEnviron: OpenType = (name, options) =>
  Promise.resolve(new EnvironmentTable(`environ:${name}`, options.flags | TableFlag.fixed));
