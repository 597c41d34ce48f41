/** LDAP URLs (RFC 4516): `ldap://host:port/base?attributes?scope?filter`. */
import { decodeUtf8, encodeUtf8, lowerAscii } from "../../sys/bytes.ts";
import { readDecimal } from "../../sys/numbers.ts";

export type LdapScope = "base" | "one" | "sub";

export interface LdapUrl {
  readonly scheme: "ldap" | "ldaps" | "ldapi";
  /** Name or address; the path of a socket for ldapi; "" = the local host. */
  readonly host: string;
  readonly port: number | undefined;
  readonly base: string;
  /** Undefined = all. */
  readonly attributes: ReadonlyArray<string> | undefined;
  readonly scope: LdapScope;
  readonly filter: string | undefined;
}

const SCOPES: ReadonlyMap<string, LdapScope> = new Map([
  ["", "base"],
  ["base", "base"],
  ["one", "one"],
  ["onelevel", "one"],
  ["sub", "sub"],
  ["subtree", "sub"],
]);

export const isLdapUrl = (text: string): boolean => /^ldap[si]?:\/\//i.test(text);

/** Undefined when the text is no such URL. */
export function parseLdapUrl(text: string): LdapUrl | undefined {
  const match = /^(ldap[si]?):\/\/([^/?]*)(?:\/([^?]*)(?:\?([^?]*)(?:\?([^?]*)(?:\?(.*))?)?)?)?$/is.exec(
    text,
  );
  if (match === null) return undefined;
  const scheme = lowerAscii(match[1] ?? "") as LdapUrl["scheme"];
  const place =
    scheme === "ldapi" ? { host: unescaped(match[2] ?? ""), port: undefined } : hostPort(match[2] ?? "");
  const scope = SCOPES.get(lowerAscii(match[5] ?? ""));
  const base = unescaped(match[3] ?? "");
  const filterText = (match[6] ?? "").split("?", 1)[0] ?? "";
  const filter = filterText === "" ? "" : unescaped(filterText);
  if (place?.host === undefined || scope === undefined || base === undefined || filter === undefined)
    return undefined;
  const attributes = (match[4] ?? "").split(",").filter((name) => name !== "");
  return {
    scheme,
    host: place.host,
    port: place.port,
    base,
    attributes: attributes.length === 0 ? undefined : attributes,
    scope,
    filter: filter === "" ? undefined : filter,
  };
}

function hostPort(text: string): { host: string; port: number | undefined } | undefined {
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::([0-9]+))?$/.exec(text);
  if (match === null) return undefined;
  const port = match[3] === undefined ? undefined : readDecimal(match[3], 65535);
  if (match[3] !== undefined && port === undefined) return undefined;
  return { host: match[1] ?? match[2] ?? "", port };
}

function unescaped(text: string): string | undefined {
  try {
    return encodeUtf8(decodeURIComponent(decodeUtf8(text) ?? text));
  } catch (failure) {
    // a percent sign without two hexadecimal digits, or bytes that are no UTF-8
    if (failure instanceof URIError) return undefined;
    throw failure;
  }
}
