import { readFileSync } from "node:fs";
import type { Accounts } from "../../../lib/config/accounts.ts";
import { Configuration, ConfigurationError } from "../../../lib/config/configuration.ts";
import { parseMainCf } from "../../../lib/config/main_cf.ts";
import { checkConfiguration } from "../../../lib/config/sanity.ts";
import { setLogSinks } from "../../../lib/log/log.ts";

export interface Vector {
  readonly name: string;
  readonly argv: ReadonlyArray<string>;
  readonly files: Readonly<Record<string, string>>;
  readonly pre?: ReadonlyArray<ReadonlyArray<string>>;
  readonly after?: ReadonlyArray<string>;
  readonly expect: {
    readonly stdout: string;
    readonly stderr: string;
    readonly rc: number;
    readonly files_after?: Readonly<Record<string, string | null>>;
  };
}

export const readVectors = <T = ReadonlyArray<Vector>>(name: string): T =>
  JSON.parse(readFileSync(new URL(`../../vectors/config/${name}.json`, import.meta.url), "utf8")) as T;

/** The byte string of the UTF-8 text in a vector. */
export const bytesOf = (text: string): string => Buffer.from(text, "utf8").toString("latin1");

/** What is logged while `run` runs, as on standard error, and its result; a ConfigurationError is a fatal line. */
export function logged<T>(run: () => T): { lines: string[]; result: T | undefined } {
  const lines: string[] = [];
  const previous = setLogSinks([
    ({ level, text }) => lines.push(level === "info" ? text : `${level}: ${text}`),
  ]);
  try {
    return { lines, result: run() };
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    lines.push(`fatal: ${error.message}`);
    return { lines, result: undefined };
  } finally {
    setLogSinks(previous);
  }
}

export const die = (text: string): never => {
  throw new ConfigurationError(text);
};

/** A configuration as a program would have it after reading conf/main.cf. */
export function configurationOf(mainCf: string): {
  configuration: Configuration;
  warnings: ReadonlyArray<string>;
} {
  const parsed = parseMainCf(bytesOf(mainCf), "conf/main.cf", new Map([["config_directory", "conf"]]));
  if (!parsed.ok) return die(parsed.error);
  const { entries, warnings } = parsed;
  const names = { processName: "postmap", serviceName: "postmap" };
  return {
    configuration: new Configuration({ directory: "conf", entries, owner: 0, die, ...names }),
    warnings,
  };
}

/** The accounts of the machine where the vectors were made. */
export const accounts: Accounts = (() => {
  const users = [
    { name: "root", uid: 0, gid: 0 },
    { name: "nobody", uid: 65534, gid: 65534 },
    { name: "postfix", uid: 104, gid: 105 },
  ];
  const groups = [
    { name: "root", gid: 0 },
    { name: "postfix", gid: 105 },
    { name: "postdrop", gid: 106 },
  ];
  return {
    userByName: (name) => users.find((user) => user.name === name),
    userById: (uid) => users.find((user) => user.uid === uid),
    groupByName: (name) => groups.find((group) => group.name === name),
    groupById: (gid) => groups.find((group) => group.gid === gid),
  };
})();

export const checked = (configuration: Configuration): void => checkConfiguration(configuration, accounts);
