/** nbdb_reindexd(8), private/nbdb_reindex: one request a connection (ipc.md 5.19). */
import { int, message, string } from "../attributes.ts";
import { greeting } from "./greeting.ts";

export const ReindexGreeting = greeting("nbdb_reindex");
/** `nbdb_type`: hash or btree; `nbdb_path`: the table's name without suffix. */
export const ReindexRequest = message("nbdb_reindex request", [string("nbdb_type"), string("nbdb_path")]);
/** `status`: 0 when the index is there, else 1 with the `reason`. */
export const ReindexReply = message("nbdb_reindex reply", [int("status"), string("reason")]);
