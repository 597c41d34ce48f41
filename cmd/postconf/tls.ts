/** postconf -T: the TLS library that this executable carries. */
import { warning } from "../../lib/log/log.ts";

/** The text of a mode; an unknown mode ends the program with status 1. */
export function showTls(mode: string): string {
  switch (mode) {
    case "compile-version":
    case "run-version":
      return `BoringSSL ${process.versions.boringssl ?? "unknown"}\n`;
    case "public-key-algorithms":
      return "ecdsa\ned25519\nrsa\n";
    default:
      warning(`unknown 'postconf -T' mode: ${mode}`);
      return process.exit(1);
  }
}
