/** The check at start that somebody guards against relaying (smtpd.md 20.1). */
import { fatal, warning } from "../../../lib/log/log.ts";
import { lowerAscii } from "../../../lib/sys/bytes.ts";
import type { RestrictionList } from "../restriction_lists.ts";

const GUARDS = new Set([
  "reject_unauth_destination",
  "defer_unauth_destination",
  "reject",
  "defer",
  "defer_if_permit",
  "check_relay_domains",
]);

/** True when a guard stands where it can work: not behind `permit`, not the object of warn_if_reject. */
function guarded(
  list: readonly string[],
  classes: ReadonlyMap<string, readonly string[]>,
  depth: number,
): boolean {
  if (depth > 100) return false;
  for (let i = 0; i < list.length; i++) {
    const word = lowerAscii(list[i] as string);
    if (word === "warn_if_reject") {
      i++;
      continue;
    }
    if (word === "permit") {
      if (list[i + 1] !== undefined) warning(`restriction \`${list[i + 1]}' after \`${list[i]}' is ignored`);
      return false;
    }
    if (GUARDS.has(word)) return true;
    const members = classes.get(list[i] as string);
    if (members !== undefined && guarded(members, classes, depth + 1)) return true;
  }
  return false;
}

/** Ends the program when relaying would be open to everybody. */
export function checkRelayControl(
  lists: ReadonlyMap<RestrictionList, readonly string[]>,
  classes: ReadonlyMap<string, readonly string[]>,
): void {
  for (const name of ["smtpd_recipient_restrictions", "smtpd_relay_restrictions"] as const)
    if (guarded(lists.get(name) ?? [], classes, 0)) return;
  fatal(
    "in parameter smtpd_relay_restrictions or smtpd_recipient_restrictions, specify at least one working instance of: " +
      "reject_unauth_destination, defer_unauth_destination, reject, defer, defer_if_permit or check_relay_domains",
  );
}
