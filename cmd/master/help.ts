import type { CommandHelp } from "../../lib/daemon/help.ts";

export const HELP: CommandHelp = {
  name: "master",
  section: 8,
  summary: "start the daemons of the mail system on demand",
  usage: ["[-Ddistvw] [-c config_dir] [-e exit_time]"],
  options: [
    ["-c config_dir", "use main.cf and master.cf of this directory", "directory"],
    ["-D", "do not become a daemon; start debugger_command"],
    ["-d", "do not become a daemon"],
    ["-e exit_time", "end after this many seconds"],
    ["-i", "be process 1 of a container"],
    ["-s", "keep standard output open"],
    ["-t", "only test whether master runs: status 0 when it does not"],
    ["-v", "log more, in this program and in what it starts"],
    ["-w", "wait until the mail system is up, and end with its status"],
  ],
};
