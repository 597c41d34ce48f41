/** flush(8), public/flush: one request per connection (ipc.md 5.6). */
import { constant, int, message, string } from "../attributes.ts";
import { greeting } from "./greeting.ts";

export const FlushGreeting = greeting("queue_flush_protocol");
export const FlushCommand = message("flush command", [string("request")]);
export const FlushAdd = message("flush add", [
  constant("request", "add"),
  string("site"),
  string("queue_id", "queueId"),
]);
export const FlushSendSite = message("flush send_site", [constant("request", "send_site"), string("site")]);
export const FlushSendFile = message("flush send_file", [
  constant("request", "send_file"),
  string("queue_id", "queueId"),
]);
export const FlushRefresh = message("flush refresh", [constant("request", "rfrsh")]);
export const FlushPurge = message("flush purge", [constant("request", "purge")]);
export const FlushStatus = message("flush status", [int("status")]);

export const FLUSH_STATUS = { ok: 0, fail: -1, bad: 3, denied: 4 } as const;
