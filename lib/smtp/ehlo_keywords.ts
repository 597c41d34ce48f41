/** Names of ESMTP keywords that a server may hide (smtpd_discard_ehlo_keywords) or a client disbelieve (smtp_discard_ehlo_keywords), in the order of the log line. */
export const EHLO_KEYWORDS = [
  "8BITMIME",
  "AUTH",
  "ETRN",
  "PIPELINING",
  "SIZE",
  "VERP",
  "VRFY",
  "XCLIENT",
  "XFORWARD",
  "STARTTLS",
  "ENHANCEDSTATUSCODES",
  "DSN",
  "SMTPUTF8",
  "CHUNKING",
  "REQUIRETLS",
] as const;
