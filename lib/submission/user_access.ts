/** The authorized_*_users lists: who may submit, list or flush mail. */
import { parameter } from "../config/configuration.ts";
import type { ParameterName } from "../config/parameters.ts";
import { lookupUserById } from "../sys/identity.ts";

type AccessList = Extract<
  ParameterName,
  "authorized_submit_users" | "authorized_mailq_users" | "authorized_flush_users"
>;

const UNKNOWN = "unknown";

/** The login name to say in the refusal; undefined when the user is on the list. */
export async function deniedUser(list: AccessList, uid: number): Promise<string | undefined> {
  const value = parameter(list);
  // the default; no need to look anybody up
  if (value.startsWith("static:")) return undefined;
  const name = lookupUserById(uid)?.name ?? UNKNOWN;
  const { MatchList } = await import("../tables/match.ts");
  const matcher = await MatchList.open(list, value, "string");
  return (await matcher.matchesOrFatal(name)) ? undefined : name;
}
