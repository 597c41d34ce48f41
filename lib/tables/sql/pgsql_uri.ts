/** Connection URIs of PostgreSQL's client library: `postgresql://user:password@host:port,host:port/dbname?name=value`. */
import { decodeUtf8, encodeUtf8 } from "../../sys/bytes.ts";

export interface PgsqlTarget {
  /** A directory (or `@name`) is that of a socket of this machine. */
  readonly host: string;
  readonly port: string;
}

export interface PgsqlUri {
  readonly targets: ReadonlyArray<PgsqlTarget>;
  /** The settings that the URI names, `user`, `password` and `dbname` among them. */
  readonly settings: ReadonlyMap<string, string>;
}

export type PgsqlUriResult =
  | { readonly ok: true; readonly uri: PgsqlUri }
  | { readonly ok: false; readonly problem: string };

/** Names that may stand in a URI; those without an effect here change nothing about the answers. */
const KNOWN = new Set([
  ...["host", "port", "user", "password", "dbname", "sslmode", "sslcert", "sslkey", "sslrootcert"],
  ...["connect_timeout", "application_name", "fallback_application_name", "options", "target_session_attrs"],
  ...["keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "client_encoding"],
]);

export const isPgsqlUri = (text: string): boolean =>
  text.startsWith("postgresql://") || text.startsWith("postgres://");

const DIGITS = /^[0-9]*$/;

export function parsePgsqlUri(text: string): PgsqlUriResult {
  const bad = (problem: string): PgsqlUriResult => ({ ok: false, problem });
  const rest = text.slice(text.indexOf("//") + 2);
  const question = rest.indexOf("?");
  const place = question < 0 ? rest : rest.slice(0, question);
  const slash = place.indexOf("/");
  const authority = slash < 0 ? place : place.slice(0, slash);
  const at = authority.lastIndexOf("@");
  const settings = new Map<string, string>();
  const put = (name: string, encoded: string): boolean => {
    const value = decode(encoded);
    if (value === undefined) return false;
    if (value !== "") settings.set(name, value);
    return true;
  };
  if (at >= 0) {
    const [user = "", ...password] = authority.slice(0, at).split(":");
    if (!put("user", user) || !put("password", password.join(":")))
      return bad(`invalid percent-encoded token: "${authority.slice(0, at)}"`);
  }
  if (slash >= 0 && !put("dbname", place.slice(slash + 1)))
    return bad(`invalid percent-encoded token: "${place.slice(slash + 1)}"`);
  for (const pair of question < 0 ? [] : rest.slice(question + 1).split("&")) {
    const equals = pair.indexOf("=");
    if (equals < 0) return bad(`missing key/value separator "=" in URI query parameter: "${pair}"`);
    const name = pair.slice(0, equals) === "ssl" ? "sslmode" : pair.slice(0, equals);
    if (!KNOWN.has(name)) return bad(`invalid URI query parameter: "${name}"`);
    const value = name === "sslmode" && pair === "ssl=true" ? "require" : pair.slice(equals + 1);
    if (!put(name, value)) return bad(`invalid percent-encoded token: "${pair}"`);
  }
  const targets = hostsOf(authority.slice(at + 1), settings);
  return targets === undefined
    ? bad(`invalid host or port in URI: "${authority.slice(at + 1)}"`)
    : { ok: true, uri: { targets, settings } };
}

function hostsOf(list: string, settings: ReadonlyMap<string, string>): PgsqlTarget[] | undefined {
  const targets: PgsqlTarget[] = [];
  const defaultHost = settings.get("host") ?? "";
  const defaultPort = settings.get("port") ?? "";
  for (const element of (list === "" ? defaultHost : list).split(",")) {
    const match = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::([0-9]*))?$/.exec(element);
    const host = match === null ? undefined : decode(match[1] ?? match[2] ?? "");
    const port = match?.[3] || defaultPort;
    if (host === undefined || !DIGITS.test(port)) return undefined;
    targets.push({ host: host || defaultHost || "localhost", port });
  }
  return targets;
}

function decode(text: string): string | undefined {
  try {
    return encodeUtf8(decodeURIComponent(decodeUtf8(text) ?? ""));
  } catch (failure) {
    // a percent sign without two hexadecimal digits, or bytes that are no UTF-8
    if (failure instanceof URIError) return undefined;
    throw failure;
  }
}
