/** One request from its check to the new index. */

import { parameter } from "../../lib/config/configuration.ts";
import { exportedEnvironment } from "../../lib/delivery/exported_environment.ts";
import { info } from "../../lib/log/log.ts";
import { asUser, type Identity } from "../../lib/privsep/identity.ts";
import { type CommandResult, runCommand } from "../../lib/privsep/run_command.ts";
import { pathOf, splitAny, trimSpace } from "../../lib/sys/bytes.ts";
import { errorCode, errorText, unless } from "../../lib/sys/errno.ts";
import { lstatSync, type Stats, statSync, unlinkSync } from "../../lib/sys/fs.ts";
import { effectiveUid } from "../../lib/sys/identity.ts";
import { isLegacyType, mapLegacyType } from "../../lib/tables/migration.ts";
import { tableType } from "../../lib/tables/registry.ts";
import { guessFormat } from "./format.ts";
import { allowedByPath, untrustedPart } from "./trust.ts";

export type Outcome = { readonly ok: true } | { readonly ok: false; readonly reason: string };

const refused = (reason: string): Outcome => ({ ok: false, reason });

/** Seconds that the command may take. */
const TIME_LIMIT = 100;
/** Bytes of its output that are read: a table full of faults gives a line for each. */
const OUTPUT_LIMIT = 16 << 20;
/** Characters of the output that the reason has. */
const REASON_LIMIT = 1000;

/** Builds the index of `path` in the type that replaces `legacyType`, unless it is there. */
export async function reindex(legacyType: string, path: string): Promise<Outcome> {
  if (!isLegacyType(legacyType)) return refused(`request to map from non-Berkeley-DB type: '${legacyType}'`);
  const mapping = await mapLegacyType(legacyType, path);
  if (!mapping.ok) return refused(mapping.problem);
  const suffix = tableType(mapping.type)?.indexSuffix;
  if (suffix === undefined) return refused(`mapping to a type without index files: '${mapping.type}'`);
  const target = path + suffix;
  if ((unless(["ENOENT", "ENOTDIR"], () => statSync(pathOf(target)))?.size ?? 0) > 0) {
    info(`target file '${target}' already exists, skipping this request`);
    return { ok: true };
  }
  const legacy = `${path}.db`;
  const found = look("legacy indexed file", legacy);
  if (!found.ok) return found;
  const { uid, gid } = found.stat;
  for (const [what, name] of [
    ["source file", path],
    ["parent directory", path.slice(0, path.lastIndexOf("/")) || "/"],
  ] as const) {
    const part = look(what, name);
    if (!part.ok) return part;
  }
  const unexpected = allowedByPath(path, uid);
  if (unexpected !== undefined) return refused(unexpected);
  const untrusted = untrustedPart(path, uid);
  if (untrusted !== undefined)
    return refused(
      `legacy indexed file '${legacy}' is owned by uid '${uid}', but ${untrusted} is owned or writable by other user; to allow automatic indexing, correct the ownership or permissions`,
    );
  if (effectiveUid() !== 0 && effectiveUid() !== uid)
    return refused(`legacy indexed file '${legacy}' is owned by uid '${uid}', and this process is not root`);
  return await build({ uid, gid }, mapping.type, path, target);
}

type Found = { readonly ok: true; readonly stat: Stats } | { readonly ok: false; readonly reason: string };

function look(what: string, path: string): Found {
  try {
    return { ok: true, stat: statSync(pathOf(path)) };
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return { ok: false, reason: `look up status for ${what} '${path}': ${errorText(error)}` };
  }
}

async function build(owner: Identity, type: string, path: string, target: string): Promise<Outcome> {
  const format = asUser(owner, () => guessFormat(path));
  if (!format.ok) return refused(`open source file '${path}': ${format.reason}`);
  const { program } = format;
  const { uid, gid } = owner;
  const shown = `${program} ${type}:${path}`;
  const result = await runCommand({
    path: `${parameter("command_directory")}/${program}`,
    argv: [program, `${type}:${path}`],
    uid,
    gid,
    environment: new Map([...exportedEnvironment(), ["MAIL_CONFIG", parameter("config_directory")]]),
    input: [],
    timeLimit: TIME_LIMIT,
    outputLimit: OUTPUT_LIMIT,
  });
  if (result.kind === "exit" && result.status === 0) {
    info(`successfully executed '${shown}' as uid ${uid}`);
    return { ok: true };
  }
  asUser(owner, () => remove(target));
  return refused(
    `could not execute command '${shown}': ${complaint(program, result)}; alternatively, execute the failed command by hand`,
  );
}

/** Half an index is worse than none. What the user may not remove, the command has not made. */
function remove(target: string): void {
  unless(["ENOENT", "ENOTDIR", "EACCES", "EPERM", "EROFS", "EISDIR"], () => {
    if (lstatSync(pathOf(target)).isFile()) unlinkSync(pathOf(target));
  });
}

/** All that the command said, on one line and cut; or how it ended. */
function complaint(program: string, result: CommandResult): string {
  const said = splitAny(result.output, "\n")
    .map(trimSpace)
    .filter((line) => line !== "")
    .join("; ");
  if (said.length > REASON_LIMIT) return `${said.slice(0, REASON_LIMIT)}...`;
  return said === "" ? `(${program} failure reason unavailable: ${howItEnded(result)})` : said;
}

function howItEnded(result: CommandResult): string {
  switch (result.kind) {
    case "exit":
      return result.status === 1 ? "Application error" : `exit status ${result.status}`;
    case "signal":
      return `killed by signal ${result.signal}`;
    case "timeout":
      return `no end within ${TIME_LIMIT} seconds`;
    case "failed":
      return result.reason;
    case "refused":
      return result.problem;
  }
}
