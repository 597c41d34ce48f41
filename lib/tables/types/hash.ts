/** `hash:name`. */
import type { OpenType } from "../table.ts";
import { openBdb } from "./bdb.ts";

export const openHash: OpenType = (name, options) => openBdb("hash", name, options);
