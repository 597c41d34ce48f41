/** The command line of postmap(1) and postalias(1). */

import { configureCommand } from "../daemon/command.ts";
import { optionLetters } from "../daemon/help.ts";
import { parseOptions } from "../daemon/options.ts";
import type { Invocation } from "../daemon/program.ts";
import { fatal, setVerbosity, verbosity, warning } from "../log/log.ts";
import { toBytes } from "../sys/bytes.ts";
import { setEnvironmentVariable } from "../sys/environment.ts";
import { writeSync } from "../sys/fs.ts";
import { baseName } from "../sys/paths.ts";
import { TableFlag } from "../tables/table.ts";
import type { Output } from "./output.ts";
import type { MakerProgram } from "./program.ts";

export type MakerAction =
  | { readonly kind: "build"; readonly incremental: boolean }
  | { readonly kind: "query"; readonly key: string }
  | { readonly kind: "delete"; readonly key: string }
  | { readonly kind: "list" };

export interface MakerOptions {
  readonly action: MakerAction;
  /** TableFlag bits of every table that is opened. */
  readonly flags: number;
  /** Keep root's rights when the source belongs to somebody else. */
  readonly keepRoot: boolean;
  /** The index is no more readable than its source. */
  readonly copyPermissions: boolean;
  readonly json: boolean;
  /** Look up the lines of a message that comes on standard input. */
  readonly messageParts:
    | { readonly headers: boolean; readonly body: boolean; readonly mime: boolean }
    | undefined;
  /** `[type:]name`, at least one. */
  readonly operands: ReadonlyArray<string>;
}

export interface MakerDefinition {
  readonly program: string;
  readonly label: (invocation: Invocation) => string;
}

export const makerDefinition = (program: string): MakerDefinition => ({
  program,
  label: (invocation) => baseName(invocation.argv0),
});

/** Parses the command line and reads the configuration; every mistake is fatal. */
export function readOptions(program: MakerProgram, invocation: Invocation, output: Output): MakerOptions {
  const parsed = parseOptions(invocation.args, optionLetters(program.help));
  const usage = `usage: ${program.name} ${program.synopsis}`;
  if (!parsed.ok) {
    writeSync(2, toBytes(`${baseName(invocation.argv0)}: ${parsed.problem}\n`));
    fatal(usage);
  }
  const given = new Set<string>();
  const actions: MakerAction[] = [];
  for (const { option, value } of parsed.options) {
    given.add(option);
    if (option === "c") setEnvironmentVariable("MAIL_CONFIG", value);
    if (option === "v") setVerbosity(verbosity() + 1);
    if (option === "d") actions.push({ kind: "delete", key: value });
    if (option === "q") actions.push({ kind: "query", key: value });
    if (option === "i" && !actions.some((action) => action.kind === "build"))
      actions.push({ kind: "build", incremental: true });
    if (option === "s" && !actions.some((action) => action.kind === "list")) actions.push({ kind: "list" });
    if (actions.length > 1) fatal("specify only one of -d -i -q or -s");
  }
  configureCommand(makerDefinition(program.name), invocation, "update");
  output.open();
  const action = actions[0] ?? { kind: "build", incremental: false };
  const json = given.has("j");
  if (json && action.kind !== "query" && action.kind !== "list") fatal("option -j requires -q or -s");
  const messageParts = partsOf(given, action);
  // a listing of nothing fails without a word
  if (parsed.operands.length === 0) action.kind === "list" ? process.exit(1) : fatal(usage);
  return {
    action,
    flags: flagsOf(given, messageParts !== undefined),
    keepRoot: given.has("o"),
    copyPermissions: !given.has("p"),
    json,
    messageParts,
    operands: parsed.operands,
  };
}

function partsOf(given: ReadonlySet<string>, action: MakerAction): MakerOptions["messageParts"] {
  const headers = given.has("h");
  const body = given.has("b");
  const mime = given.has("m");
  if (!headers && !body && !mime) return undefined;
  if (action.kind !== "query" || action.key !== "-") fatal('specify -b -h or -m only with "-q -"');
  if (!headers && !body) {
    warning("ignoring -m option without -b or -h");
    return undefined;
  }
  return { headers, body, mime };
}

function flagsOf(given: ReadonlySet<string>, messageParts: boolean): number {
  let flags = TableFlag.warn_dup | TableFlag.fold_fix | TableFlag.utf8_request;
  if (given.has("f")) flags &= ~TableFlag.fold_fix;
  if (given.has("F")) flags |= TableFlag.src_rhs_is_file;
  if (given.has("n")) flags |= TableFlag.try0null;
  if (given.has("N")) flags |= TableFlag.try1null;
  if (given.has("r")) flags = (flags & ~(TableFlag.warn_dup | TableFlag.ignore_dup)) | TableFlag.dup_replace;
  if (given.has("w")) flags = (flags & ~(TableFlag.warn_dup | TableFlag.dup_replace)) | TableFlag.ignore_dup;
  if (given.has("u") || (messageParts && !given.has("U"))) flags &= ~TableFlag.utf8_request;
  return flags;
}
