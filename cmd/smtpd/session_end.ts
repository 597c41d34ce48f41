/** How a session ends, and what went wrong in it. */

/** Bits of notify_classes. */
export const ERROR_CLASS = {
  policy: 1,
  protocol: 2,
  bounce: 4,
  software: 8,
  resource: 16,
  data: 128,
} as const;
export type ErrorClass = keyof typeof ERROR_CLASS;

/** Ends the session; how is told by `reason`. */
export class SessionEnd extends Error {
  constructor(
    readonly reason: "lost connection" | "timeout" | "data" | "failed" | "quiet",
    /** For `data` and `failed`: what to send. */
    readonly reply = "",
  ) {
    super(reason);
    this.name = "SessionEnd";
  }
}
