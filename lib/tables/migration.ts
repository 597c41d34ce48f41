/** Replacing Berkeley DB tables by another type (NON_BERKELEYDB_README). */
import { parameter } from "../config/configuration.ts";
import { info, warning } from "../log/log.ts";
import { openTable } from "./open.ts";
import { tableType } from "./registry.ts";
import { type TableAccess, TableFlag, TableOpenError } from "./table.ts";

export type LegacyType = "hash" | "btree";
export const isLegacyType = (type: string): type is LegacyType => type === "hash" || type === "btree";

export type Mapping =
  | { readonly ok: true; readonly type: string }
  | { readonly ok: false; readonly problem: string };

const ALNUM = /^[A-Za-z0-9]+$/;

/** The type that stands in for a legacy one. */
export async function mapLegacyType(type: LegacyType, name: string): Promise<Mapping> {
  const custom = parameter("non_bdb_custom_mapping");
  let mapped = type === "hash" ? parameter("default_database_type") : parameter("default_cache_db_type");
  if (custom !== "") {
    const customType = custom.slice(0, custom.indexOf(":"));
    if (isLegacyType(customType))
      return { ok: false, problem: `non_bdb_custom_mapping must not use legacy type: '${customType}'` };
    const table = await openTable(custom, { flags: TableFlag.lock | TableFlag.fold_fix });
    for (const key of [`${type}:${name}`, type]) {
      const result = await table.lookup(key);
      if (result.kind === "error") return { ok: false, problem: `${custom} lookup error for '${key}'` };
      if (result.kind === "found") {
        mapped = result.value;
        break;
      }
    }
  }
  if (!ALNUM.test(mapped)) return { ok: false, problem: `bad non-legacy database type syntax: '${mapped}'` };
  if (isLegacyType(mapped))
    return { ok: false, problem: `mapping from '${type}' to legacy type '${mapped}'` };
  if (tableType(mapped)?.load === undefined)
    return { ok: false, problem: `mapping to unsupported database type: '${mapped}'` };
  return { ok: true, type: mapped };
}

/** The type with which a hash or btree table is opened. Throws TableOpenError. */
export async function redirect(type: LegacyType, name: string, access: TableAccess): Promise<string> {
  const mapping = await mapLegacyType(type, name);
  if (!mapping.ok) {
    warning(`non-Berkeley-DB type mapping lookup error for '${type}:${name}': ${mapping.problem}`);
    throw new TableOpenError(
      `Berkeley DB type mapping lookup error for '${type}:${name}': ${mapping.problem}`,
    );
  }
  logRedirect(type, name, mapping.type);
  if (
    parameter("non_bdb_migration_level") === "enable-reindex" &&
    access !== "create" &&
    access !== "rebuild"
  ) {
    const { requestReindex } = await import("./reindex.ts");
    await requestReindex(type, name, mapping.type);
  }
  return mapping.type;
}

export function logRedirect(type: LegacyType, name: string, target: string): void {
  if (parameter("non_bdb_migration_log_redirect")) info(`redirecting ${type}:${name} to ${target}:${name}`);
}
