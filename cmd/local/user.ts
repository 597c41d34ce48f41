/** Users of this system. */
import { parameter } from "../../lib/config/configuration.ts";
import { fatal, warning } from "../../lib/log/log.ts";
import { errorText } from "../../lib/sys/errno.ts";
import { doubtOf, lookupUser, lookupUserById, type User } from "../../lib/sys/identity.ts";

export type UserLookup =
  | { readonly kind: "found"; readonly user: User }
  | { readonly kind: "absent" }
  | { readonly kind: "error" };

/** Lookups of one delivery: a name is asked for by several steps. */
export type KnownUsers = Map<string, UserLookup>;

/** The password entry of a login name; trouble with the name service is logged. */
export function findUser(known: KnownUsers, name: string): UserLookup {
  let found = known.get(name);
  if (found === undefined) {
    found = lookup(name);
    known.set(name, found);
  }
  return found;
}

function lookup(name: string): UserLookup {
  try {
    const user = lookupUser(name);
    if (user !== undefined) return { kind: "found", user };
    const doubt = doubtOf("/etc/passwd", () => lookupUserById(0));
    if (doubt === undefined) return { kind: "absent" };
    warning(`error looking up passwd info for ${name}: ${doubt}`);
    return { kind: "error" };
  } catch (error) {
    warning(`error looking up passwd info for ${name}: ${errorText(error)}`);
    return { kind: "error" };
  }
}

/** The user whose rights files and commands get: default_privs for nobody in particular, and for root. */
export function deliveryUser(user: User | undefined): User {
  if (user !== undefined && user.uid !== 0) return user;
  const name = parameter("default_privs");
  const fallback = lookupUser(name) ?? fatal(`unknown default_privs user: ${name}`);
  if (fallback.uid === 0) fatal("default_privs: privileged user is not allowed");
  return fallback;
}
