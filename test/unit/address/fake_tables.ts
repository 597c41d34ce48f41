import { readFileSync } from "node:fs";
import type { AddressLookupResult, AddressTables } from "../../../lib/address/lookup.ts";
import { lowerAscii } from "../../../lib/sys/bytes.ts";

/** A table list with one fixed table read from a `key value` file of the vectors. */
export function fileTables(...names: string[]): AddressTables {
  const entries = new Map<string, string>();
  for (const name of names) {
    const text = readFileSync(`test/vectors/processing/config/${name}`, "latin1");
    for (const line of text.split("\n")) {
      const match = /^([^# \t][^ \t]*)[ \t]+(.*?)[ \t]*$/.exec(line);
      if (match !== null && !line.startsWith('"')) entries.set(lowerAscii(match[1] ?? ""), match[2] ?? "");
      const quotedKey = /^("(?:[^"\\]|\\.)*"[^ \t]*)[ \t]+(.*?)[ \t]*$/.exec(line);
      if (quotedKey !== null) entries.set(lowerAscii(quotedKey[1] ?? ""), quotedKey[2] ?? "");
    }
  }
  return mapTables(entries);
}

export function mapTables(entries: ReadonlyMap<string, string>): AddressTables {
  return {
    empty: entries.size === 0,
    lookup: (key: string): Promise<AddressLookupResult> => {
      const value = entries.get(lowerAscii(key));
      return Promise.resolve(value === undefined ? { kind: "absent" } : { kind: "found", value });
    },
  };
}

export const NO_TABLES = mapTables(new Map());
