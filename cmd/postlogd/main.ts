/** postlogd(8): writes the log records of all programs to maillog_file. */
import { configuration, parameter } from "../../lib/config/configuration.ts";
import { datagramServer } from "../../lib/daemon/datagram.ts";
import { info, setLogSinks } from "../../lib/log/log.ts";
import { LogFile } from "../../lib/log/log_file.ts";
import { complainToSyslog, openLogFile, recordComposer, setupLogging } from "../../lib/log/setup.ts";
import { fromBytes, printable, toBytes } from "../../lib/sys/bytes.ts";
import { splitRecord } from "./forward.ts";

/** Longest record that is taken from a datagram. */
const RECORD_LIMIT = 4096;
const NEWLINE = 0x0a;

let logFile: LogFile | undefined;
/** Records that came together, for one write. */
let gathered = Buffer.alloc(64 * 1024);
let gatheredLength = 0;

export const main = datagramServer({
  profile: { files: "write" },
  parameters: ["maillog_file", "maillog_file_permissions"],
  processLimit: 1,
  maxUse: 0,
  patient: true,
  watchdog: () => parameter("postlogd_watchdog_timeout"),
  sizeLimit: RECORD_LIMIT,
  preJail: () => {
    if (parameter("maillog_file") === "") return;
    const fd = openLogFile(configuration());
    // this program's own lines go to the file directly
    const tag = `${parameter("syslog_name")}/postlogd`;
    const compose = recordComposer(tag, configuration());
    setLogSinks([
      (event) => {
        append(toBytes(compose(event)));
        flush();
      },
    ]);
    logFile = new LogFile(fd, parameter("maillog_file"), (text) =>
      complainToSyslog(tag, configuration(), text),
    );
  },
  receive: (datagram) => {
    const record = fromBytes(datagram);
    // programs mask what they log, but not only they can come here: one datagram is one line, without controls
    const line = printable(record, true);
    if (logFile === undefined) forward(line);
    else append(line === record ? datagram : toBytes(line));
  },
  flush,
});

function append(record: Uint8Array): void {
  if (gatheredLength + record.length + 1 > gathered.length) flush();
  if (record.length + 1 > gathered.length) gathered = Buffer.alloc(record.length + 1);
  gathered.set(record, gatheredLength);
  gathered[gatheredLength + record.length] = NEWLINE;
  gatheredLength += record.length + 1;
}

/** Whole records in one write, so that those of several writers never mix. */
function flush(): void {
  if (gatheredLength === 0) return;
  logFile?.append(gathered.subarray(0, gatheredLength));
  gatheredLength = 0;
}

/** To syslog under the tag of the program that it comes from. */
function forward(record: string): void {
  const parts = splitRecord(record);
  if (parts === undefined) {
    info(record);
    return;
  }
  setupLogging({ program: "postlogd", tag: parts.tag }, configuration());
  info(parts.text);
  setupLogging({ program: "postlogd" }, configuration());
}
