/** A log line as a typed event: one function renders Postfix's exact text and names the fields of the JSON form. */

export type Level = "info" | "warning" | "error" | "fatal" | "panic";

export type FieldValue = string | number | boolean | ReadonlyArray<string> | undefined;

export interface LogEvent {
  readonly level: Level;
  /** Stable name of the event, snake_case, for the JSON form. */
  readonly event: string;
  /** Postfix's text without the severity word. */
  readonly text: string;
  readonly fields: Readonly<Record<string, FieldValue>>;
}

/** Declares an event: its name, its level and how its fields read as Postfix's text. */
export const defineEvent =
  <F extends Readonly<Record<string, FieldValue>>>(
    event: string,
    level: Level,
    render: (fields: F) => string,
  ): ((fields: F) => LogEvent) =>
  (fields) => ({ level, event, text: render(fields), fields });
