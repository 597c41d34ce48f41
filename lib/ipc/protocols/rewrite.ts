/** trivial-rewrite(8), private/rewrite: any number of requests per connection (ipc.md 5.2). */
import { constant, int, message, string, type ValueOf } from "../attributes.ts";
import { greeting } from "./greeting.ts";

export const RewriteGreeting = greeting("trivial_rewrite_protocol");
/** First attribute of each request; the rest follows in the same list. */
export const RewriteCommand = message("rewrite command", [string("request")]);
export const RewriteRequest = message("rewrite request", [
  constant("request", "rewrite"),
  string("rule"),
  string("address"),
]);
export const RewriteReply = message("rewrite reply", [int("flags"), string("address")]);
export const ResolveRequest = message("resolve request", [
  string("request"),
  string("sender"),
  string("address"),
]);
export const ResolveReply = message("resolve reply", [
  int("flags", "serverFlags"),
  string("transport"),
  string("nexthop"),
  string("recipient"),
  int("flags"),
]);
export type ResolveReply = ValueOf<typeof ResolveReply>;
export type Resolved = Omit<ResolveReply, "serverFlags">;

/** Result flags of a resolve reply (ipc.md 6.3). */
export const RESOLVE_FLAG = {
  final: 1,
  routed: 2,
  error: 4,
  fail: 8,
  local: 256,
  virtualAlias: 512,
  virtualMailbox: 1024,
  relay: 2048,
  default: 4096,
} as const;

/**
 * Among the result flags for a client of ours (docs/daemons.md): this answer is that for every plain address of the domain, whoever the sender is, with
 * the address itself as the recipient.
 */
export const WHOLE_DOMAIN = 1 << 24;

const PLAIN = /^[A-Za-z0-9_]+(?:[.+=-][A-Za-z0-9_]+)*@([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*)$/;

/** The domain of an address without quotes, routes or anything else that resolving looks at; undefined for another. */
export const plainDomain = (address: string): string | undefined => PLAIN.exec(address)?.[1];
