/** All fuzzers by name; each is loaded when it is wanted. */
import type { Target } from "./runner.ts";

export const TARGETS: ReadonlyMap<string, () => Promise<Target>> = new Map([
  ["addresses", async () => (await import("./targets/addresses.ts")).addresses],
  ["attributes", async () => (await import("./targets/attributes.ts")).attributes],
  ["dns", async () => (await import("./targets/dns.ts")).dns],
  ["index_files", async () => (await import("./targets/index_files.ts")).indexFiles],
  ["main_cf", async () => (await import("./targets/main_cf.ts")).mainCf],
  ["mime", async () => (await import("./targets/mime.ts")).mime],
  ["records", async () => (await import("./targets/records.ts")).records],
  ["smtp_client", async () => (await import("./targets/smtp_client.ts")).smtpClient],
  ["smtp_server", async () => (await import("./targets/smtp_server.ts")).smtpServer],
  ["patterns", async () => (await import("./targets/foreign_tables.ts")).patterns],
  ["table_replies", async () => (await import("./targets/foreign_tables.ts")).tableReplies],
  ["table_settings", async () => (await import("./targets/foreign_tables.ts")).tableSettings],
  ["table_values", async () => (await import("./targets/table_values.ts")).tableValues],
  ["table_sources", async () => (await import("./targets/table_sources.ts")).tableSources],
]);
