/** What trouble with a table means for this program: daemons go on and answer "try again", commands end. */
import { fatal, warning } from "../log/log.ts";
import { RETRY, type TableFailure } from "./table.ts";

const policy = { surrogates: false };

/** Daemons with daemon_table_open_error_is_fatal = no allow stand-ins for tables that cannot be opened; commands do not. */
export const allowSurrogates = (allowed: boolean): void => {
  policy.surrogates = allowed;
};
export const surrogatesAllowed = (): boolean => policy.surrogates;

/** Trouble with the file of an open table. */
export function trouble(text: string): TableFailure {
  if (!policy.surrogates) fatal(text);
  warning(text);
  return RETRY;
}
