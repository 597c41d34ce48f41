/** Which tables clients may use: those that $proxy_read_maps or $proxy_write_maps name with `proxy:`. */

import { configuration, parameter } from "../../lib/config/configuration.ts";
import { logicalLines } from "../../lib/config/lines.ts";
import { splitBraced, splitList, unwrapBraces } from "../../lib/config/lists.ts";
import { fatal, warning } from "../../lib/log/log.ts";
import { fromBytes, isAlnumCode, pathOf } from "../../lib/sys/bytes.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import { readFileSync } from "../../lib/sys/fs.ts";

export type ProxyService = "proxymap" | "proxywrite";

export interface TableNames {
  /** Named with `proxy:`, which is left out here. */
  readonly approved: ReadonlySet<string>;
  /** All tables of the parameter, with or without `proxy:`. */
  readonly all: ReadonlySet<string>;
}

const PREFIX = "proxy:";
/** Files may name files; deeper than this it is a loop. */
const FILE_DEPTH = 100;

/** The table that a name stands for, without any `proxy:`. */
export function withoutProxy(name: string): string {
  let start = 0;
  while (name.startsWith(PREFIX, start)) start += PREFIX.length;
  return name.slice(start);
}

export function tableNames(service: ProxyService): TableNames {
  const names = { approved: new Set<string>(), all: new Set<string>() };
  if (service === "proxywrite") collect(parameter("proxy_write_maps"), names, 0);
  else {
    collect(parameter("proxy_read_maps"), names, 0);
    for (const name of splitList(parameter("smtpd_restriction_classes")))
      collect(configuration().lookup(name) ?? "", names, 0);
  }
  return names;
}

interface Collected {
  readonly approved: Set<string>;
  readonly all: Set<string>;
}

function collect(text: string, names: Collected, depth: number): void {
  for (const element of splitBraced(text)) {
    if (element.startsWith("{")) {
      const inner = unwrapBraces(element);
      if (!inner.ok) fatal(inner.problem);
      examine(splitBraced(inner.text)[0] ?? "", names, depth);
    } else examine(element, names, depth);
  }
}

const COMBINED = /^(?:unionmap|pipemap):(\{.*)$/s;

function examine(element: string, names: Collected, depth: number): void {
  if (element.startsWith("/")) {
    collectFile(element, names, depth);
    return;
  }
  if (!isAlnumCode(element.charCodeAt(0)) || !element.includes(":")) return;
  const members = COMBINED.exec(element)?.[1];
  if (members !== undefined) {
    const inner = unwrapBraces(members);
    if (inner.ok) collect(inner.text, names, depth + 1);
  }
  names.all.add(withoutProxy(element));
  if (element.startsWith(PREFIX)) names.approved.add(withoutProxy(element));
}

function collectFile(path: string, names: Collected, depth: number): void {
  if (depth >= FILE_DEPTH) fatal(`files are nested too deeply: ${path}`);
  let text: string;
  try {
    text = fromBytes(readFileSync(pathOf(path)));
  } catch (failure) {
    if (errorCode(failure) === undefined) throw failure;
    warning(`open file ${path}: ${errorText(failure)}`);
    return;
  }
  const { lines, warnings } = logicalLines(text, path);
  for (const line of warnings) warning(line);
  for (const line of lines) collect(line.text, names, depth + 1);
}
