import type { CommandHelp } from "../../lib/daemon/help.ts";

export const HELP: CommandHelp = {
  name: "postlog",
  section: 1,
  summary: "write to the mail log from a script",
  usage: ["[-iv] [-c config_dir] [-p priority] [-t tag] [text...]"],
  options: [
    ["-c config_dir", "use main.cf of this directory", "directory"],
    ["-i", "accepted and ignored: the process ID is always logged"],
    [
      "-p priority",
      "severity of the record; default info",
      ["info", "warn", "warning", "error", "err", "fatal", "crit", "panic"],
    ],
    ["-t tag", "name under which to log, in place of $syslog_name/postlog"],
    ["-v", "log more (only for the superuser)"],
  ],
};
