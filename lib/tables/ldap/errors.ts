/** LDAP result codes and what client libraries call them (RFC 4511 appendix A; the negative ones are OpenLDAP's own). */
export const LDAP_CODE = {
  sizeLimitExceeded: 4,
  noSuchObject: 32,
  unwilling: 53,
  serverDown: -1,
  timeout: -5,
  badFilter: -7,
  connectError: -11,
} as const;

const TEXTS: ReadonlyMap<number, string> = new Map([
  [1, "Operations error"],
  [2, "Protocol error"],
  [3, "Time limit exceeded"],
  [4, "Size limit exceeded"],
  [7, "Authentication method not supported"],
  [8, "Strong(er) authentication required"],
  [10, "Referral"],
  [11, "Administrative limit exceeded"],
  [12, "Critical extension is unavailable"],
  [13, "Confidentiality required"],
  [14, "SASL bind in progress"],
  [16, "No such attribute"],
  [17, "Undefined attribute type"],
  [18, "Inappropriate matching"],
  [21, "Invalid syntax"],
  [32, "No such object"],
  [33, "Alias problem"],
  [34, "Invalid DN syntax"],
  [36, "Alias dereferencing problem"],
  [48, "Inappropriate authentication"],
  [49, "Invalid credentials"],
  [50, "Insufficient access"],
  [51, "Server is busy"],
  [52, "Server is unavailable"],
  [53, "Server is unwilling to perform"],
  [54, "Loop detected"],
  [80, "Internal (implementation specific) error"],
  [-1, "Can't contact LDAP server"],
  [-5, "Timed out"],
  [-7, "Bad search filter"],
  [-11, "Connect error"],
]);

/** A failed LDAP operation. */
export class LdapError extends Error {
  constructor(readonly ldapCode: number) {
    super(TEXTS.get(ldapCode) ?? "Unknown error");
  }
}

/** The error for what ldapts throws: a result of the server, or trouble with the connection. */
export function ldapError(failure: unknown): LdapError {
  if (failure instanceof LdapError) return failure;
  if (failure instanceof TypeError || failure instanceof RangeError) throw failure;
  if (
    typeof failure === "object" &&
    failure !== null &&
    "code" in failure &&
    typeof failure.code === "number"
  )
    return new LdapError(failure.code);
  const late = failure instanceof Error && /timed out|timeout/i.test(failure.message);
  return new LdapError(late ? LDAP_CODE.timeout : LDAP_CODE.serverDown);
}
