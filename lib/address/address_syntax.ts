/** What is wrong with a numeric address, in the words of the log. Octets may begin with zeros. */
import { isDigitCode } from "../sys/bytes.ts";

/** The fault of an IPv4 address; undefined when there is none. */
export function ipv4Fault(address: string): string | undefined {
  const fault = (what: string): string => `valid_ipv4_hostaddr: ${what}: ${address}`;
  let octets = 0;
  let value: number | undefined;
  for (let index = 0; index < address.length; index++) {
    const code = address.charCodeAt(index);
    if (isDigitCode(code)) {
      if (value === undefined) octets++;
      value = (value ?? 0) * 10 + code - 0x30;
      if (value > 255) return fault("invalid octet value");
    } else if (code === 0x2e) {
      if (value === undefined || index + 1 === address.length) return fault("misplaced dot");
      if (octets === 1 && value === 0 && /[^0.]/.test(address.slice(index)))
        return fault("bad initial octet value");
      value = undefined;
    } else return fault(`invalid character ${code}(decimal)`);
  }
  return octets === 4 ? undefined : fault("invalid octet count");
}

const COLONS = 7;
const FIELD_LIMIT = 4;
const HEX = /[0-9A-Fa-f]/;

/** The fault of an IPv6 address; undefined when there is none. */
export function ipv6Fault(address: string): string | undefined {
  const fault = (what: string): string => `valid_ipv6_hostaddr: ${what}: ${address}`;
  let colons = 0;
  let doubled = false;
  let start = 0;
  for (let index = 0; index < address.length; index++) {
    const character = address.charAt(index);
    const next = address.charAt(index + 1);
    if (character === ".") {
      if (colons < 2 || (colons !== COLONS - 1 && !doubled)) return fault("malformed IPv4-in-IPv6 address");
      return ipv4Fault(address.slice(start));
    }
    if (character === ":") {
      if (index === 0 && next !== ":") return fault("bad null first field in IPv6 address");
      if (++colons > COLONS) return fault("too many `:' in IPv6 address");
      if (next === ":") {
        if (doubled) return fault("too many `::' in IPv6 address");
        doubled = true;
      } else if (next === "" && address.charAt(index - 1) !== ":")
        return fault("bad null last field in IPv6 address");
      start = index + 1;
    } else if (!HEX.test(character))
      return fault(`invalid character ${character.charCodeAt(0)}(decimal) in IPv6 address`);
    else if (index - start >= FIELD_LIMIT) return fault("malformed IPv6 address");
  }
  return colons < COLONS && !doubled ? fault("too few `:' in IPv6 address") : undefined;
}

/** The fault of an address of either kind. */
export const addressFault = (address: string): string | undefined =>
  address.includes(":") ? ipv6Fault(address) : ipv4Fault(address);

const IPV6_TAG = /^ipv6:/i;

/** The fault of what stands between the brackets of a domain literal (RFC 5321 4.1.3). */
export const literalFault = (inner: string): string | undefined =>
  IPV6_TAG.test(inner) ? ipv6Fault(inner.replace(IPV6_TAG, "")) : ipv4Fault(inner);
