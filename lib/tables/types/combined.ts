/** `pipemap:{a:x, b:y}`: each result is the next key; `unionmap:{a:x, b:y}`: all results of one key. */
import { splitBraced, unwrapBraces } from "../../config/lists.ts";
import { openTable } from "../open.ts";
import {
  ABSENT,
  combinedOwner,
  found,
  type LookupResult,
  type OpenType,
  type Table,
  TableFlag,
  TableOpenError,
  type TableOwner,
  type TypeOptions,
} from "../table.ts";

type Combine = (members: ReadonlyArray<Table>, key: string) => Promise<LookupResult>;

class CombinedTable implements Table {
  readonly fixed: boolean;
  readonly owner: TableOwner;
  flags: number;
  constructor(
    readonly name: string,
    flags: number,
    private readonly members: ReadonlyArray<Table>,
    private readonly combine: Combine,
  ) {
    this.fixed = members[0]?.fixed ?? false;
    this.owner = combinedOwner(members.map((member) => member.owner));
    this.flags = flags | (this.fixed ? TableFlag.fixed : TableFlag.pattern);
  }
  lookup(key: string): Promise<LookupResult> {
    return this.combine(this.members, key);
  }
  /** Members are registered tables and are looked at themselves. */
  changed(): boolean {
    return false;
  }
  close(): void {
    for (const member of this.members) member.close();
  }
}

async function openCombined(
  type: string,
  name: string,
  options: TypeOptions,
  combine: Combine,
): Promise<Table> {
  const inner = unwrapBraces(name);
  const specs = inner.ok ? splitBraced(inner.text) : [];
  if (specs.length === 0 || specs.some((spec) => !spec.includes(":")))
    throw new TableOpenError(`bad syntax: "${type}:${name}"; need "${type}:{type:name...}"`);
  const members: Table[] = [];
  for (const spec of specs) members.push(await openTable(spec, { flags: options.flags }));
  return new CombinedTable(`${type}:${name}`, options.flags, members, combine);
}

const pipe: Combine = async (members, key) => {
  let value = key;
  for (const member of members) {
    const result = await member.lookup(value);
    if (result.kind !== "found") return result;
    value = result.value;
  }
  return found(value);
};

const union: Combine = async (members, key) => {
  const values: string[] = [];
  for (const member of members) {
    const result = await member.lookup(key);
    if (result.kind === "error") return result;
    if (result.kind === "found") values.push(result.value);
  }
  return values.length === 0 ? ABSENT : found(values.join(","));
};

export const openPipemap: OpenType = (name, options) => openCombined("pipemap", name, options, pipe);
export const openUnionmap: OpenType = (name, options) => openCombined("unionmap", name, options, union);
