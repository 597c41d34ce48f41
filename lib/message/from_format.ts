/** header_from_format: how the system writes the From: headers that are its own. */
import { parameter } from "../config/configuration.ts";
import { fatal } from "../log/log.ts";
import { lowerAscii } from "../sys/bytes.ts";

/** `standard`: `name <address>`; `obsolete`: `address (name)`. Another value ends the program. */
export function fromFormat(): "standard" | "obsolete" {
  const value = parameter("header_from_format");
  const format = lowerAscii(value);
  if (format === "standard" || format === "obsolete") return format;
  return fatal(`invalid setting: "header_from_format = ${value}"`);
}
