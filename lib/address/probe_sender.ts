/** The sender of address probes, whose localpart may change with the time (address_verify_sender, address_verify_sender_ttl). */
import { parameter } from "../config/configuration.ts";
import { equalFold } from "../sys/bytes.ts";
import { joinAddress, splitAddress } from "./split.ts";

const DIGITS = "0123456789BCDFGHJKLMNPQRSTVWXYZ";

function encode(value: number): string {
  let text = "";
  for (let rest = value; rest > 0; rest = Math.floor(rest / DIGITS.length))
    text = DIGITS.charAt(rest % DIGITS.length) + text;
  return text === "" ? "0" : text;
}

const isNull = (address: string): boolean => address === "" || address === "<>";

/** The sender of a probe that is sent now, in internal form; a domain may be missing. */
export function probeSender(now: number = Date.now() / 1000): string {
  const plain = parameter("address_verify_sender");
  const ttl = parameter("address_verify_sender_ttl");
  if (isNull(plain)) return "";
  if (ttl <= 0) return plain;
  const { local, domain } = splitAddress(plain);
  return joinAddress(local + encode(Math.floor(now / ttl)), domain);
}

/** The plain verify sender, when the address is its form of now or of a neighbouring period; undefined otherwise. */
export function plainVerifySender(address: string): string | undefined {
  const ttl = parameter("address_verify_sender_ttl");
  if (ttl <= 0 || address === "") return undefined;
  const plain = parameter("address_verify_sender");
  if (isNull(plain)) return undefined;
  const { local, domain } = splitAddress(plain);
  const given = splitAddress(address);
  if (domain !== undefined && (given.domain === undefined || !equalFold(domain, given.domain)))
    return undefined;
  const epoch = Math.floor(Date.now() / 1000 / ttl);
  for (const near of [epoch, epoch - 1, epoch + 1])
    if (equalFold(given.local, local + encode(near)))
      return given.domain === undefined ? local : `${local}@${given.domain}`;
  return undefined;
}
