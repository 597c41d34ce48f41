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
const fieldOf = (value: FieldValue): unknown =>
  typeof value === "string" ? unicode(value) : Array.isArray(value) ? value.map(unicode) : value;

/** Renders events as one JSON object each: time, level, program, pid, event, message and the event's fields. */
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
  return (event) => {
    const fields = Object.fromEntries(
      Object.entries(event.fields).map(([key, value]) => [key, fieldOf(value)]),
    );
    logger[LEVELS[event.level]](
      { event: event.event, ...(event.level === "panic" ? { panic: true } : {}), ...fields },
      unicode(event.text),
    );
    // the line travels as bytes like every other
    return Buffer.from(line.trimEnd(), "utf8").toString("latin1");
  };
}
