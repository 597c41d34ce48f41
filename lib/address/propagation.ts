/** Which tables hand an address extension that no key had on to their results (propagate_unmatched_extensions). */
import { parameter } from "../config/configuration.ts";
import { namesOf } from "../config/names.ts";

const TABLES = ["alias", "canonical", "forward", "generic", "include", "virtual"] as const;
export type PropagatingTable = (typeof TABLES)[number];

export const propagatingTables = (): ReadonlySet<PropagatingTable> =>
  namesOf("propagate_unmatched_extensions", parameter("propagate_unmatched_extensions"), TABLES);
