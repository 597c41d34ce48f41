/** All programs: where they are installed, and under which other names. */

export interface ProgramEntry {
  readonly name: string;
  readonly directory: "libexec" | "sbin";
  /** Other names of the same file. */
  readonly links?: ReadonlyArray<string>;
  /** Executed with the group setgid_group where maildrop is not world-writable. */
  readonly setgid?: boolean;
}

export const PROGRAMS: ReadonlyArray<ProgramEntry> = [
  { name: "master", directory: "libexec" },
  { name: "anvil", directory: "libexec" },
  { name: "bounce", directory: "libexec" },
  { name: "cleanup", directory: "libexec" },
  { name: "discard", directory: "libexec" },
  { name: "error", directory: "libexec" },
  { name: "flush", directory: "libexec" },
  { name: "local", directory: "libexec" },
  { name: "nbdb_reindexd", directory: "libexec" },
  { name: "pickup", directory: "libexec" },
  { name: "pipe", directory: "libexec" },
  { name: "postfix-wrapper", directory: "libexec" },
  { name: "postlogd", directory: "libexec" },
  { name: "proxymap", directory: "libexec" },
  { name: "qmgr", directory: "libexec", links: ["nqmgr", "oqmgr"] },
  { name: "scache", directory: "libexec" },
  { name: "showq", directory: "libexec" },
  { name: "smtp", directory: "libexec", links: ["lmtp"] },
  { name: "smtpd", directory: "libexec" },
  { name: "spawn", directory: "libexec" },
  { name: "trivial-rewrite", directory: "libexec" },
  { name: "verify", directory: "libexec" },
  { name: "virtual", directory: "libexec" },
  { name: "postalias", directory: "sbin" },
  { name: "postcat", directory: "sbin" },
  { name: "postconf", directory: "sbin" },
  { name: "postdrop", directory: "sbin", setgid: true },
  { name: "postfix", directory: "sbin" },
  { name: "postkick", directory: "sbin" },
  { name: "postlock", directory: "sbin" },
  { name: "postlog", directory: "sbin", setgid: true },
  { name: "postmap", directory: "sbin" },
  { name: "postmulti", directory: "sbin" },
  { name: "postqueue", directory: "sbin", setgid: true },
  { name: "postsuper", directory: "sbin" },
  { name: "smtp-sink", directory: "sbin" },
  { name: "smtp-source", directory: "sbin" },
  { name: "qshape", directory: "sbin" },
  { name: "sendmail", directory: "sbin", links: ["mailq", "newaliases"] },
];
