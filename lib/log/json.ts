/** Structured lines (`maillog_format = json`, a parameter of ours), written by pino. */
import { pino } from "pino";
import type { Configuration } from "../config/configuration.ts";
import { decodeUtf8 } from "../sys/bytes.ts";
import type { FieldValue, Level, LogEvent } from "./event.ts";

const LEVELS: Readonly<Record<Level, "info" | "warn" | "error" | "fatal">> = {
  info: "info",
  warning: "warn",
  error: "error",
  fatal: "fatal",
  panic: "fatal",
};

/** Bytes that are no UTF-8 are shown as Latin-1 characters: JSON has no other way to keep them. */
const unicode = (text: string): string => decodeUtf8(text) ?? text;
const cutTo = (text: string, limit: number): string =>
  unicode(text.length > limit ? text.slice(0, limit) : text);
const fieldOf = (value: FieldValue, limit: number): unknown =>
  typeof value === "string"
    ? cutTo(value, limit)
    : Array.isArray(value)
      ? value.slice(0, limit).map((item) => cutTo(item, limit))
      : value;

/** Postlogd takes 4096 bytes; a longer line would be no JSON any more. */
const RECORD_LIMIT = 4096;
/** Longest text and fields of each attempt to stay below that. */
const CUTS = [2000, 800, 200, 40, 10] as const;

/**
 * Renders events as one JSON object each: time, level, program, pid, event, message and the event's fields. What is too long is cut, and says
 * so (`truncated`).
 */
export function jsonRenderer(configuration: Configuration, tag: string): (event: LogEvent) => string {
  let line = "";
  const slash = tag.lastIndexOf("/");
  const logger = pino(
    {
      base: {
        host: unicode(configuration.get("myhostname")),
        name: unicode(slash < 0 ? tag : tag.slice(0, slash)),
        program: unicode(tag.slice(slash + 1)),
        pid: process.pid,
      },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      messageKey: "message",
    },
    {
      write(text: string): void {
        line = text;
      },
    },
  );
  const render = (event: LogEvent, limit: number): Buffer => {
    const fields = Object.fromEntries(
      Object.entries(event.fields).map(([key, value]) => [key, fieldOf(value, limit)]),
    );
    const marks = {
      ...(event.level === "panic" && { panic: true }),
      ...(limit < CUTS[0] && { truncated: true }),
    };
    logger[LEVELS[event.level]]({ event: event.event, ...marks, ...fields }, cutTo(event.text, limit));
    return Buffer.from(line.replace(/\n$/, ""), "utf8");
  };
  return (event) => {
    let record = render(event, CUTS[0]);
    for (const limit of CUTS.slice(1)) if (record.length > RECORD_LIMIT) record = render(event, limit);
    // the line travels as bytes like every other
    return record.toString("latin1");
  };
}
