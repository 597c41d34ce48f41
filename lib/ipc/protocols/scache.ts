/** scache(8), private/scache: connections handed from one client to the next (ipc.md 5.10, 3.7). */
import { constant, int, message, string } from "../attributes.ts";
import { greeting } from "./greeting.ts";

export const ScacheGreeting = greeting("connection_cache_protocol");
export const ScacheCommand = message("scache command", [string("request")]);
export const ScacheSaveEndpoint = message("scache save_endp", [
  constant("request", "save_endp"),
  int("ttl"),
  string("label"),
  string("property"),
]);
export const ScacheFindEndpoint = message("scache find_endp", [
  constant("request", "find_endp"),
  string("label"),
]);
export const ScacheSaveDestination = message("scache save_dest", [
  constant("request", "save_dest"),
  int("ttl"),
  string("label", "destination"),
  string("property"),
  string("label", "endpoint"),
]);
export const ScacheFindDestination = message("scache find_dest", [
  constant("request", "find_dest"),
  string("label"),
]);
export const ScacheStatus = message("scache status", [int("status")]);
export const ScacheEndpointReply = message("scache endpoint", [int("status"), string("property")]);
export const ScacheDestinationReply = message("scache destination", [
  int("status"),
  string("property", "destinationProperty"),
  string("property", "endpointProperty"),
]);
/** The handshake around a passed descriptor. */
export const Dummy = message("dummy", [constant("dummy", "")]);
export const SCACHE_STATUS = { ok: 0, bad: 1, fail: 2 } as const;
