/** Option files of MySQL's client library: what a program need not say itself. */

import { join } from "node:path";
import { warning } from "../../log/log.ts";
import { fromBytes, pathOf, trimSpace } from "../../sys/bytes.ts";
import { errorCode, errorText } from "../../sys/errno.ts";
import { readdirSync, readFileSync } from "../../sys/fs.ts";
import { readDecimal } from "../../sys/numbers.ts";

export interface MysqlOptions {
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly socket: string | undefined;
  readonly port: number | undefined;
  readonly characterSet: string | undefined;
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
  readonly tlsCa: string | undefined;
  readonly tlsCaPath: string | undefined;
  readonly tlsCiphers: string | undefined;
}

/** Read when no file is named. */
const DEFAULT_FILES = ["/etc/my.cnf", "/etc/mysql/my.cnf"];
/** Groups that every client reads. */
const CLIENT_GROUPS = ["client", "client-server", "client-mariadb"];
/** Files may include files; deeper than this it is a loop. */
const INCLUDE_DEPTH = 10;

/** Reads the groups of a client and `group`. `file` "": the files that every client reads. `group` "": no file at all unless one is named. */
export function readMysqlOptions(file: string, group: string): MysqlOptions {
  const found = new Map<string, string>();
  const groups = new Set([...CLIENT_GROUPS, group]);
  if (file !== "") read(file, groups, found, 0, true);
  else if (group !== "") for (const path of DEFAULT_FILES) read(path, groups, found, 0, false);
  const port = found.get("port");
  return {
    user: found.get("user"),
    password: found.get("password"),
    socket: found.get("socket"),
    port: port === undefined ? undefined : readDecimal(port, 65535),
    characterSet: found.get("default-character-set"),
    tlsCert: found.get("ssl-cert"),
    tlsKey: found.get("ssl-key"),
    tlsCa: found.get("ssl-ca"),
    tlsCaPath: found.get("ssl-capath"),
    tlsCiphers: found.get("ssl-cipher"),
  };
}

function read(
  path: string,
  groups: ReadonlySet<string>,
  found: Map<string, string>,
  depth: number,
  named: boolean,
): void {
  let text: string;
  try {
    text = fromBytes(readFileSync(pathOf(path)));
  } catch (failure) {
    const code = errorCode(failure);
    if (code === undefined) throw failure;
    if (named || code !== "ENOENT") warning(`mysql option file ${path}: ${errorText(failure)}`);
    return;
  }
  let wanted = false;
  for (const raw of text.split("\n")) {
    const line = trimSpace(raw);
    if (line === "" || line.startsWith("#") || line.startsWith(";")) continue;
    if (line.startsWith("!")) {
      if (depth < INCLUDE_DEPTH) include(line, groups, found, depth + 1);
      continue;
    }
    if (line.startsWith("[")) {
      wanted = groups.has(line.slice(1, Math.max(1, line.indexOf("]"))));
      continue;
    }
    if (!wanted) continue;
    const equals = line.indexOf("=");
    const name = trimSpace(equals < 0 ? line : line.slice(0, equals)).replaceAll("_", "-");
    found.set(name, equals < 0 ? "" : optionValue(trimSpace(line.slice(equals + 1))));
  }
}

function include(line: string, groups: ReadonlySet<string>, found: Map<string, string>, depth: number): void {
  const [directive = "", path = ""] = line.split(/[ \t]+/, 2);
  if (directive === "!include") read(path, groups, found, depth, true);
  if (directive !== "!includedir") return;
  try {
    for (const name of readdirSync(pathOf(path), "latin1").sort())
      if (name.endsWith(".cnf")) read(join(path, name), groups, found, depth, true);
  } catch (failure) {
    if (errorCode(failure) === undefined) throw failure;
    warning(`mysql option directory ${path}: ${errorText(failure)}`);
  }
}

/** A value without its quotes, or without the comment behind it. */
function optionValue(text: string): string {
  const quoted = /^(["'])(.*?)\1/.exec(text);
  if (quoted !== null) return quoted[2] ?? "";
  const comment = text.search(/[ \t]#/);
  return comment < 0 ? text : trimSpace(text.slice(0, comment));
}
