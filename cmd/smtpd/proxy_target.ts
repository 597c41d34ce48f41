/** What a before-queue filter is to the rest of smtpd(8): a place for commands and content that has the last word. */
import type { ErrorClass } from "./session_end.ts";

/** Why the filter does not go on: what the client is told. */
export interface ProxyRefusal {
  readonly reply: string;
  readonly errorClass: ErrorClass;
}

export interface ProxyVerdict {
  /** The filter took the message. */
  readonly accepted: boolean;
  /** Its reply, for the client; lines joined by CR LF. */
  readonly reply: string;
  readonly errorClass: ErrorClass | undefined;
}

/** Where commands and content go: to the filter at once, or to a file first. */
export interface ProxyTarget {
  /** A client's command; what the filter has against it. */
  command(line: string, expected: "2" | "3"): Promise<ProxyRefusal | undefined>;
  write(bytes: Uint8Array): void;
  /** More is gathered than should wait. */
  readonly full: boolean;
  flush(): Promise<void>;
  /** False when the message cannot go on. */
  readonly writable: boolean;
  /** Ends the content and gives the filter's word on the message. */
  finish(): Promise<ProxyVerdict>;
  quit(): void;
}
