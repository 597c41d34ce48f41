/** Which domains are this system's own: mydestination, and address literals of our interfaces (postconf(5), mydestination). */
import { configuration, parameter } from "../config/configuration.ts";
import { parseInet } from "../config/inet.ts";
import { type Soon, when } from "../sys/when.ts";
import { MatchList } from "../tables/match.ts";
import { addressOfLiteral } from "./hostname.ts";

export class LocalDomains {
  private constructor(private readonly destinations: MatchList) {}

  /** Opens mydestination of the installed configuration. */
  static async open(): Promise<LocalDomains> {
    return new LocalDomains(await MatchList.open("mydestination", parameter("mydestination"), "string"));
  }

  /** One trailing dot is ignored; an empty name, or one that still ends in a dot, is not local. */
  isLocal(domain: string): Soon<boolean | "error"> {
    const name = domain.endsWith(".") ? domain.slice(0, -1) : domain;
    if (name === "" || name.endsWith(".")) return false;
    return when(this.destinations.matches(name), ({ kind }) =>
      kind === "none" ? isOwnLiteral(name) : kind === "match" || "error",
    );
  }
}

/** An address literal of one of our interfaces, or of a proxy in front of us. */
export function isOwnLiteral(domain: string): boolean {
  if (!domain.startsWith("[")) return false;
  const address = addressOfLiteral(domain);
  const bytes = address === undefined ? undefined : parseInet(address);
  if (bytes === undefined) return false;
  const current = configuration();
  const isSame = (own: { readonly bytes: Uint8Array }): boolean => Buffer.compare(own.bytes, bytes) === 0;
  return current.ownAddresses().some(isSame) || current.proxyAddresses().some(isSame);
}
