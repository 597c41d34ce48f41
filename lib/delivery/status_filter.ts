/** `*_delivery_status_filter`: tables that replace status and reason of an outcome (delivery.md 1.5). */
import { warning } from "../log/log.ts";
import { TableList } from "../tables/list.ts";
import { TableFlag } from "../tables/table.ts";
import { type Dsn, takeDsn } from "./status.ts";

export interface StatusFilter {
  apply(status: Dsn): Promise<Dsn>;
  close(): void;
}

/** Opens the tables of a filter parameter; undefined when it is empty. */
export async function openStatusFilter(
  parameterName: string,
  value: string,
): Promise<StatusFilter | undefined> {
  const tables = await TableList.open(parameterName, value, TableFlag.lock);
  if (tables.empty) return undefined;
  return { apply: (status) => applyFilter(tables, parameterName, status), close: () => tables.close() };
}

const ACTIONS: Readonly<Record<string, string>> = { "4": "delayed", "5": "failed" };

async function applyFilter(tables: TableList, parameterName: string, status: Dsn): Promise<Dsn> {
  const result = await tables.lookup(`${status.status} ${status.reason}`);
  if (result.kind !== "found") return status;
  const replacement = takeDsn(result.value);
  const success = status.status.startsWith("2");
  if (replacement === undefined || replacement.status.startsWith("2") !== success) {
    warning(`${parameterName}: bad status code: ${result.value}`);
    return status;
  }
  return {
    ...status,
    status: replacement.status,
    reason: replacement.text,
    action: ACTIONS[replacement.status.charAt(0)] ?? status.action,
  };
}
