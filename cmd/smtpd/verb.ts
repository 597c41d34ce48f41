/** What a verb is: a command line in, an answer out. */
import type { Token } from "../../lib/smtp/command.ts";
import type { Soon } from "../../lib/sys/when.ts";
import type { Session } from "./session.ts";

export interface Command {
  /** Upper case. */
  readonly verb: string;
  readonly tokens: readonly Token[];
  /** The line as it came. */
  readonly line: string;
}

/** Answers a command; false when it counts as an error. */
export type VerbHandler = (session: Session, command: Command) => Soon<boolean>;

export interface Verb {
  readonly name: string;
  /** Where it stands in the line about the end of a session. */
  readonly place: number;
  readonly run: VerbHandler;
  /** Counts for smtpd_junk_command_limit. */
  readonly junk: boolean;
  /** Allowed while TLS is required and not active. */
  readonly beforeTls: boolean;
  /** Must be the last of a pipelined group. RFC 2920 section 3.1. */
  readonly last: boolean;
}
