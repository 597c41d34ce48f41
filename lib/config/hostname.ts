/** The default of myhostname, and what is wrong with a host name. */
import { isAlnumCode } from "../sys/bytes.ts";

const NAME_LIMIT = 255;
const LABEL_LIMIT = 63;

/** Why a name is no valid hostname, in the words of the log; undefined when it is one. `_` is allowed. */
export function hostnameFault(name: string): string | undefined {
  if (name === "") return "empty hostname";
  let labelLength = 0;
  let numeric = true;
  for (let index = 0; index < name.length; index++) {
    const code = name.charCodeAt(index);
    const next = name.charAt(index + 1);
    if (isAlnumCode(code) || code === 0x5f) {
      if (labelLength === LABEL_LIMIT) return `hostname label too long: ${name}`;
      labelLength++;
      if (code < 0x30 || code > 0x39) numeric = false;
    } else if (code === 0x2e) {
      if (labelLength === 0 || next === "") return `misplaced delimiter: ${name}`;
      labelLength = 0;
    } else if (code === 0x2d) {
      numeric = false;
      labelLength++;
      if (labelLength === 1 || next === "" || next === ".") return `misplaced hyphen: ${name}`;
    } else return `invalid character ${code}(decimal): ${name}`;
  }
  if (numeric) return `numeric hostname: ${name}`;
  return name.length > NAME_LIMIT ? `bad length ${name.length} for ${name.slice(0, 100)}...` : undefined;
}

/** The kernel's host name, completed with a domain when it has none. */
export function ownHostname(domain: () => string | undefined): string {
  const name = process.getBuiltinModule("node:os").hostname();
  return name.includes(".") ? name : `${name}.${domain() ?? "localdomain"}`;
}

/** The domain part of myhostname. */
export function domainOf(name: string): string {
  const dot = name.indexOf(".");
  return dot < 0 ? "localdomain" : name.slice(dot + 1);
}
