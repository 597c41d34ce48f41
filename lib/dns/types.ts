/** DNS records and the outcome of a lookup. Names and texts are byte strings. */

export const RECORD_TYPES = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  TLSA: 52,
} as const;
export type RecordType = keyof typeof RECORD_TYPES;
/** What can be asked for. */
export type QueryType = Exclude<RecordType, "SOA">;

interface Owner {
  readonly name: string;
  /** Seconds. */
  readonly ttl: number;
}

export interface AddressRecord extends Owner {
  readonly type: "A" | "AAAA";
  readonly address: string;
}
export interface MxRecord extends Owner {
  readonly type: "MX";
  readonly preference: number;
  /** Empty for the null MX of RFC 7505. */
  readonly host: string;
}
export interface SrvRecord extends Owner {
  readonly type: "SRV";
  readonly priority: number;
  readonly weight: number;
  readonly port: number;
  /** Empty when the service is decidedly not available (RFC 2782). */
  readonly host: string;
}
export interface NameRecord extends Owner {
  readonly type: "CNAME" | "NS" | "PTR";
  readonly host: string;
}
export interface TextRecord extends Owner {
  readonly type: "TXT";
  /** The character strings joined. */
  readonly text: string;
}
export interface TlsaRecord extends Owner {
  readonly type: "TLSA";
  readonly usage: number;
  readonly selector: number;
  readonly matching: number;
  readonly data: Uint8Array;
}
export type DnsRecord = AddressRecord | MxRecord | SrvRecord | NameRecord | TextRecord | TlsaRecord;

export type DnsFailureStatus =
  /** The name does not exist. */
  | "not-found"
  /** The name exists without such a record. */
  | "no-data"
  /** Time limit, SERVFAIL, REFUSED: another attempt may help. */
  | "retry"
  /** The server says that the query itself is wrong. */
  | "fail"
  | "malformed"
  | "invalid-name"
  | "null-mx"
  | "null-srv"
  | "cname-loop"
  /** The reply filter dropped every record. */
  | "filtered"
  | "filter-error";

export interface DnsFailure {
  readonly status: DnsFailureStatus;
  /** Postfix's complete text. */
  readonly reason: string;
  /** Seconds for which a negative answer holds (RFC 2308), undefined when not known. */
  readonly ttl?: number;
}

export interface DnsSuccess {
  readonly status: "found";
  /** At least one, in the order of the answer. */
  readonly records: ReadonlyArray<DnsRecord>;
  /** The name at the end of the CNAME chain. */
  readonly canonicalName: string;
  /** The server vouches for the answer (AD bit), and DNSSEC was asked for. */
  readonly secure: boolean;
}

export type DnsResult = DnsSuccess | DnsFailure;

const NEGATIVE: ReadonlyArray<DnsResult["status"]> = ["not-found", "no-data", "cname-loop", "invalid-name"];
/** "No" as opposed to "do not know"; a ring of aliases leads nowhere, and what is no name has no records. */
export const isNegative = (status: DnsResult["status"]): boolean => NEGATIVE.includes(status);

const HOST_TEXT = {
  "not-found": "Host not found",
  "no-data": "Host found but no data record of requested type",
  retry: "Host not found, try again",
  fail: "Non-recoverable error",
} as const;

/** Postfix's text for a failed lookup. */
export function failureText(status: DnsFailureStatus, name: string, type: string): string {
  switch (status) {
    case "not-found":
    case "no-data":
    case "retry":
    case "fail":
      return `Host or domain name not found. Name service error for name=${name} type=${type}: ${HOST_TEXT[status]}`;
    case "malformed":
      return `Name service error for name=${name} type=${type}: Malformed or unexpected name server reply`;
    case "invalid-name":
      return `Name service error for ${name}: invalid host or domain name`;
    case "null-mx":
      return `Domain ${name} does not accept mail (nullMX)`;
    case "null-srv":
      return `Domain ${name} does not support SRV requests`;
    case "cname-loop":
      return `Name server loop for ${name}`;
    case "filtered":
      return `Error looking up name=${name} type=${type}: DNS reply filter drops all results`;
    case "filter-error":
      return `Error looking up name=${name} type=${type}: Invalid DNS reply filter syntax`;
  }
}

export const dnsFailure = (
  status: DnsFailureStatus,
  name: string,
  type: string,
  ttl?: number,
): DnsFailure => ({
  status,
  reason: failureText(status, name, type),
  ...(ttl === undefined ? {} : { ttl }),
});
