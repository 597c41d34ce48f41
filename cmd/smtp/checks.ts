/** smtp_header_checks and its relatives: tables that see the message on its way out (header_checks(5)). */
import { info, warning } from "../../lib/log/log.ts";
import { isHeader } from "../../lib/message/header.ts";
import { LocalDataError } from "../../lib/smtp/client_session.ts";
import { upperAscii } from "../../lib/sys/bytes.ts";
import type { TableList } from "../../lib/tables/list.ts";

/** A table could not be used: the delivery is put off. */
export class ChecksFailed extends LocalDataError {
  constructor(what: "header" | "body") {
    super(`smtp ${what} checks lookup error`);
  }
}

export interface CheckOutcome {
  /** Texts before the line. */
  readonly before: ReadonlyArray<string>;
  /** The line, perhaps another one; undefined when it is dropped. */
  readonly text: string | undefined;
}

const TEXT_LIMIT = 200;
const BLANK = /^([^ \t]+)(?:[ \t]+([\s\S]*))?$/;

/** Applies one table to a header or body line. */
export async function applyChecks(
  queueId: string,
  tables: TableList,
  what: "header" | "body",
  text: string,
): Promise<CheckOutcome> {
  const unchanged: CheckOutcome = { before: [], text };
  if (tables.empty) return unchanged;
  const result = await tables.lookup(text);
  if (result.kind === "absent") return unchanged;
  if (result.kind === "error") {
    warning(`${queueId}: smtp ${what} checks lookup error`);
    throw new ChecksFailed(what);
  }
  const [, word = "", argument = ""] = BLANK.exec(result.value) ?? [];
  const log = (label: string): void =>
    info(
      `${queueId}: ${label}: ${what} ${text.slice(0, TEXT_LIMIT)}${argument === "" ? "" : `: ${argument}`}`,
    );
  const problem = (action: string): CheckOutcome | undefined => {
    if (argument === "") warning(`${action} action without text in ${tables.title} map`);
    else if (what === "header" && !isHeader(argument))
      warning(
        `bad ${action} header text "${argument}" in ${tables.title} map -- need "headername: headervalue"`,
      );
    else return undefined;
    return unchanged;
  };
  switch (upperAscii(word)) {
    case "WARN":
      log("warning");
      return unchanged;
    case "INFO":
      log("info");
      return unchanged;
    case "REPLACE": {
      const bad = problem("REPLACE");
      if (bad !== undefined) return bad;
      log("replace");
      return { before: [], text: argument };
    }
    case "PREPEND": {
      const bad = problem("PREPEND");
      if (bad !== undefined) return bad;
      log("prepend");
      return { before: [argument], text };
    }
    case "STRIP":
      log("strip");
      return { before: [], text: undefined };
    case "IGNORE":
      return { before: [], text: undefined };
    case "DUNNO":
    case "OK":
      return unchanged;
    default:
      warning(`unsupported command in ${tables.title} map: ${result.value}`);
      return unchanged;
  }
}
