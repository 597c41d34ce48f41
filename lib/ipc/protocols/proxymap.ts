/** proxymap(8), private/proxymap and proxywrite (ipc.md 5.9). */
import { constant, int, message, string } from "../attributes.ts";
import { greeting } from "./greeting.ts";

export const ProxymapGreeting = greeting("proxymap_protocol");
export const ProxymapCommand = message("proxymap command", [string("request")]);
const table = [string("table"), int("instance_flags", "instanceFlags")] as const;

export const ProxymapOpen = message("proxymap open", [constant("request", "open"), ...table]);
export const ProxymapLookup = message("proxymap lookup", [
  constant("request", "lookup"),
  ...table,
  int("flags"),
  string("key"),
]);
export const ProxymapUpdate = message("proxymap update", [
  constant("request", "update"),
  ...table,
  int("flags"),
  string("key"),
  string("value"),
]);
export const ProxymapDelete = message("proxymap delete", [
  constant("request", "delete"),
  ...table,
  int("flags"),
  string("key"),
]);
export const ProxymapSequence = message("proxymap sequence", [
  constant("request", "sequence"),
  ...table,
  int("flags"),
  int("function"),
]);
export const ProxymapStatusReply = message("proxymap status", [int("status"), int("flags")]);
export const ProxymapLookupReply = message("proxymap lookup reply", [
  int("status"),
  int("flags"),
  string("value"),
]);
export const ProxymapSequenceReply = message("proxymap sequence reply", [
  int("status"),
  int("flags"),
  string("key"),
  string("value"),
]);
/** Answer to an unknown request. */
export const ProxymapBadReply = message("proxymap bad request", [int("status")]);

export const PROXYMAP_STATUS = { ok: 0, noKey: 1, retry: 2, bad: 3, denied: 4, config: 5 } as const;
