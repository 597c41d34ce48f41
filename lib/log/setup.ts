/** Where log lines go: standard error, syslog's socket, or postlogd (logging.md 4 and 5). */

import type { Configuration } from "../config/configuration.ts";
import { splitAny, toBytes } from "../sys/bytes.ts";
import { environmentVariable, setEnvironmentVariable } from "../sys/environment.ts";
import { errorCode } from "../sys/errno.ts";
import { safeOpen } from "../sys/files.ts";
import { closeSync, constants, writeSync } from "../sys/fs.ts";
import { connectLocal, sendBytes, textSender } from "../sys/sockets.ts";
import { formatTime } from "../sys/strftime.ts";
import type { Level, LogEvent } from "./event.ts";
import { fatal, type LogSink, setLogSinks, setLogUtf8 } from "./log.ts";
import { LogFile } from "./log_file.ts";

const SYSLOG_SOCKET = "/dev/log";
/** Syslog and postlogd get at most this many bytes of text. */
const TEXT_LIMIT = 2000;
const MAIL_FACILITY = 2;
const FACILITIES =
  "kern user mail daemon auth syslog lpr news uucp cron authpriv ftp - - - - local0 local1 local2 local3 local4 local5 local6 local7";
/** The code of a facility of syslog(3); undefined for any other word. */
function facilityCode(name: string): number | undefined {
  const code = name === "-" ? -1 : FACILITIES.split(" ").indexOf(name);
  return code < 0 ? undefined : code;
}
const PRIORITY: Readonly<Record<Level, number>> = { info: 6, warning: 4, error: 3, fatal: 2, panic: 2 };
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

export interface LogSetup {
  /** Last component of the program's name: `smtpd`. */
  readonly program: string;
  /** The tag as a whole, in place of `syslog_name/program`. */
  readonly tag?: string;
  /** Name before each line on standard error; none when undefined (daemons). */
  readonly standardError?: string;
  /** On standard error, too, the tag stands before each line (daemons with -V). */
  readonly showTag?: boolean;
  /** May write maillog_file itself when postlogd cannot be reached (postfix, postlog, postmulti, postsuper, master). */
  readonly fallback?: boolean;
  /** This process is postlogd: it writes the file and sends no datagrams. */
  readonly ownFile?: boolean;
}

const severity = (event: LogEvent): string => (event.level === "info" ? "" : `${event.level}: `);

/** Sets the outputs before (`configuration` undefined) or after main.cf was read. */
export function setupLogging(setup: LogSetup, configuration?: Configuration): void {
  const sinks: LogSink[] = [];
  const name = configuration?.get("syslog_name") ?? environmentVariable("MAIL_LOGTAG") ?? "postfix";
  const tag = setup.tag ?? `${name}/${setup.program}`;
  const shown = setup.showTag === true ? tag : setup.standardError;
  if (shown !== undefined) sinks.push(standardErrorSink(shown));
  setLogUtf8(configuration?.get("smtputf8_enable") ?? false);
  if (setup.ownFile !== true) {
    const open = (): LogSink => internalSink(setup, tag, configuration) ?? syslogSink(tag, configuration);
    sinks.push(configuration === undefined ? whenNeeded(open) : open());
  }
  closePrevious();
  setLogSinks(sinks);
}

let openDescriptor = -1;
let descriptorInUse = -1;

/** An output that its first line opens: before main.cf was read there is rarely anything to say. */
function whenNeeded(open: () => LogSink): LogSink {
  descriptorInUse = -1;
  let sink: LogSink | undefined;
  return (event) => {
    if (sink === undefined) {
      sink = open();
      openDescriptor = descriptorInUse;
    }
    sink(event);
  };
}

function closePrevious(): void {
  if (openDescriptor >= 0 && openDescriptor !== descriptorInUse) closeSync(openDescriptor);
  openDescriptor = descriptorInUse;
}

const standardErrorSink =
  (name: string): LogSink =>
  (event) => {
    try {
      writeSync(2, toBytes(`${name}: ${severity(event)}${event.text}\n`));
    } catch (error) {
      // nobody reads: the other outputs still get the line
      if (errorCode(error) === undefined) throw error;
    }
  };

// --- syslog ------------------------------------------------------------------------------------------

function syslogSink(tag: string, configuration: Configuration | undefined): LogSink {
  if (configuration !== undefined) {
    delete process.env.POSTLOG_SERVICE;
    delete process.env.POSTLOG_HOSTNAME;
  }
  const facilityName = configuration?.get("syslog_facility");
  const facility = facilityName === undefined ? MAIL_FACILITY : facilityCode(facilityName);
  if (facility === undefined)
    fatal(
      `file ${configuration?.get("config_directory")}/main.cf: parameter syslog_facility: unrecognized value: ${facilityName}`,
    );
  const render = renderer(configuration, tag);
  const head = tag.includes("[") ? `${tag}: ` : `${tag}[${process.pid}]: `;
  let socket = connectSyslog();
  descriptorInUse = socket?.fd ?? -1;
  return (event) => {
    const line = `<${facility * 8 + PRIORITY[event.level]}>${stamp(" ")} ${head}${render(event)}`;
    if (socket !== undefined && deliver(socket, line)) return;
    // syslogd was restarted: once more on a fresh connection (in a jail that needs dev/log there)
    if (socket !== undefined) closeSync(socket.fd);
    socket = connectSyslog();
    openDescriptor = socket?.fd ?? -1;
    if (socket !== undefined) deliver(socket, line);
  };
}

interface SyslogSocket {
  readonly fd: number;
  readonly stream: boolean;
}

function connectSyslog(): SyslogSocket | undefined {
  for (const kind of ["datagram", "stream"] as const) {
    try {
      return { fd: connectLocal(SYSLOG_SOCKET, kind), stream: kind === "stream" };
    } catch (error) {
      if (errorCode(error) !== "EPROTOTYPE") return undefined;
    }
  }
  return undefined;
}

function deliver(socket: SyslogSocket, line: string): boolean {
  try {
    sendBytes(socket.fd, toBytes(socket.stream ? `${line}\0` : line));
    return true;
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return false;
  }
}

// --- postlogd ----------------------------------------------------------------------------------------

function internalSink(
  setup: LogSetup,
  tag: string,
  configuration: Configuration | undefined,
): LogSink | undefined {
  const path = socketPath(configuration);
  if (path === undefined) return undefined;
  if (configuration !== undefined) {
    setEnvironmentVariable("POSTLOG_SERVICE", path);
    setEnvironmentVariable("POSTLOG_HOSTNAME", configuration.get("myhostname"));
  }
  const compose = recordComposer(tag, configuration);
  try {
    const fd = connectLocal(path, "datagram");
    descriptorInUse = fd;
    // master starts postlogd: it must never wait for it
    const send = textSender(fd, setup.fallback !== true);
    return (event) => {
      try {
        send(compose(event));
      } catch (error) {
        const code = errorCode(error);
        if (code === undefined) throw error;
        if (code === "EAGAIN" && configuration !== undefined)
          appendDirectly(configuration, tag, compose(event));
        // otherwise as Postfix: a record that postlogd does not take is lost
      }
    };
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    descriptorInUse = -1;
    const file = configuration?.get("maillog_file") ?? "";
    if (setup.fallback !== true || file === "" || configuration === undefined) return () => undefined;
    const fd = openLogFile(configuration);
    descriptorInUse = fd;
    const log = new LogFile(fd, file, (text) => complainToSyslog(tag, configuration, text));
    return (event) => log.append(toBytes(`${compose(event)}\n`));
  }
}

/** A whole record as postlogd and maillog_file have it: time, host, tag and text. */
export function recordComposer(
  tag: string,
  configuration: Configuration | undefined,
): (event: LogEvent) => string {
  const render = renderer(configuration, tag);
  // a JSON object has the fields of the header in it
  if (isJson(configuration)) return render;
  const head = `${hostName(configuration)} ${tag}[${process.pid}]: `;
  return (event) => `${stamp("0")} ${head}${render(event)}`;
}

/** maillog_file cannot be written: syslog may be there all the same. */
export function complainToSyslog(tag: string, configuration: Configuration, text: string): void {
  const socket = connectSyslog();
  if (socket === undefined) return;
  const facility = facilityCode(configuration.get("syslog_facility")) ?? MAIL_FACILITY;
  const line = `<${facility * 8 + PRIORITY.warning}>${stamp(" ")} ${tag}[${process.pid}]: warning: ${text}`;
  deliver(socket, line);
  closeSync(socket.fd);
}

/** postlogd is behind or dead: the line goes into the file all the same. */
function appendDirectly(configuration: Configuration, tag: string, record: string): void {
  const opened = tryOpenLogFile(configuration);
  const complain = (text: string): void => complainToSyslog(tag, configuration, text);
  if (!opened.ok) {
    complain(`open logfile '${configuration.get("maillog_file")}': ${opened.reason}`);
    return;
  }
  new LogFile(opened.fd, configuration.get("maillog_file"), complain).append(toBytes(`${record}\n`));
  closeSync(opened.fd);
}

function socketPath(configuration: Configuration | undefined): string | undefined {
  if (configuration === undefined) {
    const inherited = environmentVariable("POSTLOG_SERVICE");
    return inherited === undefined || inherited === "" ? undefined : inherited;
  }
  const file = configuration.get("maillog_file");
  if (file === "") return undefined;
  const prefixes = splitAny(configuration.get("maillog_file_prefixes"), ", \t\r\n");
  if (!prefixes.some((prefix) => file.startsWith(prefix)))
    fatal(`maillog_file value '${file}' does not match any prefix in maillog_file_prefixes`);
  return `${configuration.get("queue_directory")}/public/${configuration.get("postlog_service_name")}`;
}

function hostName(configuration: Configuration | undefined): string {
  const full = configuration?.get("myhostname") ?? environmentVariable("POSTLOG_HOSTNAME") ?? "amnesiac";
  return full.split(".", 1)[0] ?? full;
}

/** Opens maillog_file for appending by the safe-open rules; a failure is fatal. */
export function openLogFile(configuration: Configuration): number {
  const opened = tryOpenLogFile(configuration);
  if (!opened.ok) fatal(`open logfile '${configuration.get("maillog_file")}': ${opened.reason}`);
  return opened.fd;
}

/** What maillog_file_permissions may be; another value was warned about when main.cf was read. */
const PERMISSIONS = /^0*6(?:00|40|44)$/;
const DEFAULT_MODE = 0o600;

function tryOpenLogFile(configuration: Configuration): ReturnType<typeof safeOpen> {
  const path = configuration.get("maillog_file");
  const permissions = configuration.get("maillog_file_permissions");
  const mode = PERMISSIONS.test(permissions) ? Number.parseInt(permissions, 8) : DEFAULT_MODE;
  const flags = constants.O_CREAT | constants.O_WRONLY | constants.O_APPEND;
  return safeOpen(path, flags, mode);
}

// --- rendering ---------------------------------------------------------------------------------------

function isJson(configuration: Configuration | undefined): configuration is Configuration {
  const format = configuration?.get("maillog_format") ?? "text";
  return format === "json" || (format !== "text" && fatal(`unknown maillog_format value: "${format}"`));
}

/** Postfix's line without its header, or with `maillog_format = json` one JSON object made by pino. */
export function renderer(configuration: Configuration | undefined, tag: string): (event: LogEvent) => string {
  if (!isJson(configuration)) return renderText;
  let write: ((event: LogEvent) => string) | undefined;
  return (event) => {
    write ??= (require("./json.ts") as typeof import("./json.ts")).jsonRenderer(configuration, tag);
    return write(event);
  };
}

const renderText = (event: LogEvent): string =>
  severity(event) + (event.text.length > TEXT_LIMIT ? event.text.slice(0, TEXT_LIMIT) : event.text);

let stampSecond = 0;
let stampText = "";
let stampPad = "";
/** `Nov  2 08:14:04` in local time; the text of a second is made once. */
function stamp(pad: " " | "0"): string {
  const second = Math.floor(Date.now() / 1000);
  if (second === stampSecond && pad === stampPad) return stampText;
  // not %b, which is the month of a locale
  const [month, day = "", time] = formatTime("%m %d %H:%M:%S", second).split(" ");
  stampText = `${MONTHS[Number(month) - 1]} ${day.startsWith("0") ? pad + day.slice(1) : day} ${time}`;
  stampSecond = second;
  stampPad = pad;
  return stampText;
}
