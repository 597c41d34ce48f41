/** `internal:name`: an in-memory table of this process, empty when it is opened. */
import { type OpenType, TRUSTED } from "../table.ts";
import { WritableMemoryTable } from "./memory.ts";

export const openInternal: OpenType = (name, options) =>
  Promise.resolve(new WritableMemoryTable(`internal:${name}`, options.flags, TRUSTED, new Map()));
