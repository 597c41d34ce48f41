/** `btree:name`. */
import type { OpenType } from "../table.ts";
import { openBdb } from "./bdb.ts";

export const openBtree: OpenType = (name, options) => openBdb("btree", name, options);
