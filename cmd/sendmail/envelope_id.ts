/** Syntax of the DSN envelope id as the option takes it: printable ASCII or tab. */
import { isPrintCode } from "../../lib/sys/bytes.ts";

export function isEnvelopeId(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code !== 0x09 && !isPrintCode(code)) return false;
  }
  return true;
}
