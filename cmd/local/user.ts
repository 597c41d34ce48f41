/** Users of this system. */
import { warning } from "../../lib/log/log.ts";
import { errorText } from "../../lib/sys/errno.ts";
import { lookupUser, type User } from "../../lib/sys/identity.ts";

export type UserLookup = { readonly kind: "found"; readonly user: User } | { readonly kind: "absent" } | { readonly kind: "error" };

/** The password entry of a login name; trouble with the name service is logged. */
export function findUser(name: string): UserLookup {
  try {
    const user = lookupUser(name);
    return user === undefined ? { kind: "absent" } : { kind: "found", user };
  } catch (error) {
    warning(`error looking up passwd info for ${name}: ${errorText(error)}`);
    return { kind: "error" };
  }
}
