/** What the small delivery agents share: set-up before the jail, and the outcome of a whole request. */

import type { Disposition } from "./disposition.ts";
import { openFlushDomains } from "./flush_domains.ts";

/** Opens what dispositions need and the jail may not have. To be called from preJail of every delivery agent. */
export async function openDispositionTables(): Promise<void> {
  await openFlushDomains();
}

/** A request is finished when each of its recipients is. */
export const combine = (dispositions: Iterable<Disposition>): Disposition => {
  for (const disposition of dispositions) if (disposition === "retry") return "retry";
  return "finished";
};
