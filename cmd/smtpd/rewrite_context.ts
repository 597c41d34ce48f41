/** The rewriting context of a client's headers: `local` for those of local_header_rewrite_clients, else `remote`. */
import { warning } from "../../lib/log/log.ts";
import type { Soon } from "../../lib/sys/when.ts";
import type { Session } from "./session.ts";

type Context = "local" | "remote";

/** undefined when a table fails. */
export function rewriteContext(session: Session): Soon<Context | undefined> {
  const { forwarded, policy, client } = session;
  if (forwarded?.source !== undefined) return forwarded.source;
  if (session.standAlone) return "local";
  const [first, second] = policy.rewriteClients;
  // the default
  if (first?.kind === "inet_interfaces" && second === undefined)
    return policy.ownAddresses.has(client.address) ? "local" : "remote";
  return byRules(session);
}

async function byRules(session: Session): Promise<Context | undefined> {
  const { policy, client } = session;
  for (const rule of policy.rewriteClients) {
    switch (rule.kind) {
      case "inet_interfaces":
        if (policy.ownAddresses.has(client.address)) return "local";
        break;
      case "mynetworks": {
        const match = await policy.mynetworks.matches(client.name, client.address);
        if (match.kind === "match") return "local";
        if (match.kind === "error") return undefined;
        break;
      }
      case "authenticated":
        if (session.login !== undefined) return "local";
        break;
      case "table": {
        const result = await rule.table.lookup(client.address);
        if (result.kind === "found") return "local";
        if (result.kind === "error") {
          warning(`${rule.table.name} lookup error for "${client.address}"`);
          return undefined;
        }
        break;
      }
      case "unknown":
        warning(`parameter local_header_rewrite_clients: invalid request: ${rule.word}`);
        break;
    }
  }
  return "remote";
}
