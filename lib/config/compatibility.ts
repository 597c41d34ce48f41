/** Defaults that an old compatibility_level keeps, and whether one of them is in use without having been asked for. */
import { compareLevels, parseLevel } from "./level.ts";
import type { ParameterName } from "./parameters.ts";
import { type Configuration, ConfigurationError } from "./settings.ts";

interface LegacyDefault {
  /** Level from which the new default holds. */
  readonly below: string;
  /** Set in main.cf, any of them is an answer to the question. */
  readonly unset: ReadonlyArray<ParameterName>;
}

export const LEGACY_DEFAULTS = {
  append_dot_mydomain: { below: "1", unset: ["append_dot_mydomain"] },
  smtputf8_enable: { below: "1", unset: ["smtputf8_enable"] },
  smtpd_relay_restrictions: { below: "1", unset: ["smtpd_relay_restrictions"] },
  chroot: { below: "1", unset: [] },
  mynetworks_style: { below: "2", unset: ["mynetworks", "mynetworks_style"] },
  relay_domains: { below: "2", unset: ["relay_domains"] },
  flush_domains: { below: "2", unset: ["relay_domains", "fast_flush_domains"] },
  smtpd_tls_fingerprint_digest: { below: "3.6", unset: ["smtpd_tls_fingerprint_digest"] },
  smtp_tls_fingerprint_digest: { below: "3.6", unset: ["smtp_tls_fingerprint_digest"] },
  lmtp_tls_fingerprint_digest: { below: "3.6", unset: ["lmtp_tls_fingerprint_digest"] },
  smtpd_relay_before_recipient_restrictions: {
    below: "3.6",
    unset: ["smtpd_relay_before_recipient_restrictions"],
  },
  respectful_logging: { below: "3.6", unset: ["respectful_logging"] },
  smtp_tls_security_level: { below: "3.11", unset: ["smtp_tls_security_level"] },
  tlsproxy_client_security_level: { below: "3.11", unset: ["tlsproxy_client_security_level"] },
  smtp_tlsrpt_skip_reused_handshakes: { below: "3.11", unset: ["smtp_tlsrpt_skip_reused_handshakes"] },
} as const satisfies Record<string, LegacyDefault>;

export type LegacyDefaultName = keyof typeof LEGACY_DEFAULTS;

/** The level in force. Throws ConfigurationError when it is malformed. */
export function compatibilityLevel(configuration: Configuration): number {
  const text = configuration.get("compatibility_level");
  const level = parseLevel(text);
  if (level === undefined) throw new ConfigurationError(`malformed compatibility level syntax: "${text}"`);
  return level;
}

export const isBelowLevel = (configuration: Configuration, level: string): boolean =>
  compareLevels(compatibilityLevel(configuration), parseLevel(level) ?? 0) < 0;

/** Whether a program that is about to rely on this old default has to say so. */
export function usesLegacyDefault(configuration: Configuration, name: LegacyDefaultName): boolean {
  const { below, unset }: LegacyDefault = LEGACY_DEFAULTS[name];
  return isBelowLevel(configuration, below) && !unset.some((parameter) => configuration.isSet(parameter));
}
