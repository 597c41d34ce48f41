/** postmap(1) and postalias(1): builds, changes, queries and lists tables. */

import { parameter } from "../config/configuration.ts";
import { command } from "../daemon/command.ts";
import type { Invocation, Main } from "../daemon/program.ts";
import { fatal, warning } from "../log/log.ts";
import { decodeUtf8, encodeUtf8, fromBytes } from "../sys/bytes.ts";
import { readFileSync } from "../sys/fs.ts";
import { decodeFileValue } from "../tables/file_value.ts";
import { openTable } from "../tables/open.ts";
import {
  type LookupResult,
  type Table,
  type TableAccess,
  type TableFailure,
  TableFlag,
} from "../tables/table.ts";
import { buildTable } from "./build_table.ts";
import { type MakerOptions, makerDefinition, readOptions } from "./options.ts";
import { Output } from "./output.ts";
import type { MakerProgram } from "./program.ts";

/** The main function of a program that makes tables. */
export const makerCommand = (program: MakerProgram): Main =>
  command({
    ...makerDefinition(program.name),
    help: program.help,
    run: (invocation) => run(program, invocation),
  });

async function run(program: MakerProgram, invocation: Invocation): Promise<void> {
  const output = new Output();
  const options = readOptions(program, invocation, output);
  const { action } = options;
  switch (action.kind) {
    case "build":
      for (const operand of options.operands) await buildTable(program, operand, options, action.incremental);
      return;
    case "list":
      return await list(program, options, output);
    case "query":
      return finish(await query(program, options, action.key, output), output);
    case "delete":
      return finish(await remove(options, action.key), output);
  }
}

function finish(found: boolean, output: Output): void {
  output.flush();
  process.exit(found ? 0 : 1);
}

/** `type:name` of an operand. */
export const specOf = (operand: string): string =>
  operand.includes(":") ? operand : `${parameter("default_database_type")}:${operand}`;

/** Opens the tables of the command line when they are needed. */
class Tables {
  readonly opened: Table[] = [];
  constructor(
    private readonly options: MakerOptions,
    private readonly access: TableAccess,
  ) {}
  get count(): number {
    return this.options.operands.length;
  }
  async get(index: number): Promise<Table> {
    const known = this.opened[index];
    if (known !== undefined) return known;
    const flags = this.options.flags | TableFlag.lock;
    const table = await openTable(specOf(this.options.operands[index] ?? ""), { access: this.access, flags });
    this.opened[index] = table;
    return table;
  }
}

function failed(table: Table, operation: string, failure: TableFailure): never {
  const text = `table ${table.name}: ${operation} error`;
  return fatal(failure.error === "config" ? text : `${text}: ${failure.reason ?? "Application error"}`);
}

async function query(
  program: MakerProgram,
  options: MakerOptions,
  key: string,
  output: Output,
): Promise<boolean> {
  if (options.messageParts !== undefined) {
    const { messageKeys } = await import("./message_keys.ts");
    return await queryAll(
      program,
      options,
      listed(messageKeys(readFileSync(0), options.messageParts)),
      output,
      true,
    );
  }
  return key === "-"
    ? await queryAll(program, options, standardInputLines(), output, true)
    : await queryAll(program, options, listed([key]), output, false);
}

/** The lines of standard input, one at a time: there may be millions. */
function standardInputLines(): Keys {
  const text = fromBytes(readFileSync(0));
  let next = 0;
  return () => {
    if (next >= text.length) return undefined;
    const newline = text.indexOf("\n", next);
    const start = next;
    const end = newline < 0 ? text.length : newline;
    next = end + 1;
    return text.slice(start, end);
  };
}

/** Gives one key after the other. */
type Keys = () => string | undefined;

function listed(keys: ReadonlyArray<string>): Keys {
  let next = 0;
  return () => keys[next++];
}

/** Looks each key up in the tables, one after the other until one has it. One function: a million keys come this way. */
async function queryAll(
  program: MakerProgram,
  options: MakerOptions,
  keys: Keys,
  output: Output,
  showKey: boolean,
): Promise<boolean> {
  const tables = new Tables(options, "read");
  let found = false;
  for (let key = keys(); key !== undefined; key = keys())
    for (let index = 0; index < tables.count; index++) {
      const table = tables.opened[index] ?? (await tables.get(index));
      const answer = table.lookup(key);
      const result = decoded(options, table, key, answer instanceof Promise ? await answer : answer);
      if (result.kind === "error") failed(table, "query", result);
      if (result.kind === "absent") continue;
      if (result.value === "") warnEmptyValue(table, key);
      if (options.json) output.write(jsonPair(key, result.value));
      else output.write(showKey ? `${key}${program.separator}${result.value}\n` : `${result.value}\n`);
      found = true;
      break;
    }
  return found;
}

function decoded(options: MakerOptions, table: Table, key: string, result: LookupResult): LookupResult {
  if ((options.flags & TableFlag.src_rhs_is_file) === 0 || result.kind !== "found") return result;
  return decodeFileValue(table, key, result.value);
}

function warnEmptyValue(table: Table, key: string): void {
  warning(`table ${table.name}: key ${key}: empty string result is not allowed`);
  warning(`table ${table.name} should return NO RESULT in case of NOT FOUND`);
}

const jsonText = (text: string): string => encodeUtf8(JSON.stringify(decodeUtf8(text) ?? text));
const jsonPair = (key: string, value: string): string => `{${jsonText(key)}: ${jsonText(value)}}\n`;

async function remove(options: MakerOptions, key: string): Promise<boolean> {
  const tables = new Tables(options, "write");
  const keys = key === "-" ? standardInputLines() : listed([key]);
  let found = false;
  for (let one = keys(); one !== undefined; one = keys())
    for (let index = 0; index < tables.count; index++) {
      const table = await tables.get(index);
      const result = await table.remove?.(one);
      if (result?.kind === "error") failed(table, "delete", result);
      if (result?.kind === "done") found = true;
    }
  return found;
}

/** Lists the first table. */
async function list(program: MakerProgram, options: MakerOptions, output: Output): Promise<void> {
  const table = await new Tables(options, "read").get(0);
  let record = await table.sequence?.("first");
  for (; record?.kind === "found"; record = await table.sequence?.("next")) {
    const value = decoded(options, table, record.key, { kind: "found", value: record.value });
    if (value.kind === "error") failed(table, "sequence", value);
    if (value.kind !== "found") continue;
    if (record.key === "") warning(`table ${table.name}: empty lookup key value is not allowed`);
    else if (value.value === "") warnEmptyValue(table, record.key);
    output.write(
      options.json ? jsonPair(record.key, value.value) : `${record.key}${program.separator}${value.value}\n`,
    );
  }
  if (record?.kind === "error") failed(table, "sequence", record);
  output.flush();
}
