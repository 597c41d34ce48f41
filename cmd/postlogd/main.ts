/** postlogd(8): writes the log records of all programs to maillog_file. */
import { closeSync, writeSync } from "node:fs";
import { configuration, parameter } from "../../lib/config/configuration.ts";
import { datagramServer } from "../../lib/daemon/datagram.ts";
import type { LogEvent } from "../../lib/log/event.ts";
import { info, setLogSinks } from "../../lib/log/log.ts";
import { openLogFile, renderer, setupLogging } from "../../lib/log/setup.ts";
import { fromBytes } from "../../lib/sys/bytes.ts";

/** Longest record that is taken from a datagram. */
const RECORD_LIMIT = 4096;
const NEWLINE = Buffer.from("\n");

let logFile = -1;

export const main = datagramServer({
  parameters: ["maillog_file", "maillog_file_permissions"],
  processLimit: 1,
  maxUse: 0,
  watchdog: () => parameter("postlogd_watchdog_timeout"),
  sizeLimit: RECORD_LIMIT,
  preJail: () => {
    if (parameter("maillog_file") === "") return;
    logFile = openLogFile(configuration());
    // this program's own lines go to the file directly
    const host = parameter("myhostname").split(".", 1)[0];
    const render = renderer(configuration(), `${parameter("syslog_name")}/postlogd`);
    const json = parameter("maillog_format") === "json";
    setLogSinks([
      (event) => append(Buffer.from(json ? render(event) : ownRecord(event, host ?? ""), "latin1")),
    ]);
  },
  receive: (datagram) => (logFile >= 0 ? append(datagram) : forward(fromBytes(datagram))),
  atExit: () => {
    if (logFile >= 0) closeSync(logFile);
  },
});

/** One write per record, so that records of several writers never mix. */
function append(record: Uint8Array): void {
  const line = Buffer.concat([record, NEWLINE]);
  let at = 0;
  while (at < line.length) at += writeSync(logFile, line, at);
}

function ownRecord(event: LogEvent, host: string): string {
  const now = new Date();
  const month = now.toLocaleString("en-US", { month: "short" });
  const two = (value: number): string => String(value).padStart(2, "0");
  const time = `${two(now.getHours())}:${two(now.getMinutes())}:${two(now.getSeconds())}`;
  const severity = event.level === "info" ? "" : `${event.level}: `;
  return `${month} ${two(now.getDate())} ${time} ${host} ${parameter("syslog_name")}/postlogd[${process.pid}]: ${severity}${event.text}`;
}

/** `Mon DD HH:MM:SS HOST ` */
const HEADER_WORDS = 4;

/** maillog_file was switched off and some processes do not know yet: what they send goes to syslog under their own tag (logging.md 5.4). */
function forward(record: string): void {
  if (record.startsWith("{")) {
    info(record);
    return;
  }
  let at = 0;
  for (let word = 0; word < HEADER_WORDS; word++) at = record.indexOf(" ", at) + 1;
  const colon = record.indexOf(": ", at);
  if (at === 0 || colon < 0) {
    info(record);
    return;
  }
  setupLogging({ program: "postlogd", tag: record.slice(at, colon) }, configuration());
  info(record.slice(colon + 2));
  setupLogging({ program: "postlogd" }, configuration());
}
