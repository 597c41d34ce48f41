import type { CommandHelp } from "./help.ts";

/** The options that master gives to every daemon; of these, master.cf may use -o, -v and, to try something by hand, -D and -S. */
export const SERVICE_OPTIONS: CommandHelp["options"] = [
  ["-c", "change root to the queue directory"],
  ["-d", "do not mind a terminal (master runs in the foreground)"],
  ["-D", "start debugger_command first"],
  ["-i seconds", "idle time after which the process ends, in place of max_idle"],
  ["-l", "the service has a process limit of one"],
  ["-m count", "clients after which the process ends, in place of max_use"],
  ["-n name", "the service's name in master.cf"],
  ["-o name=value", "a parameter's value for this service, in place of main.cf's"],
  ["-r seconds", "time after which the process ends; no program here uses it yet"],
  ["-s count", "number of listening sockets"],
  ["-S", "serve one client on standard input and output"],
  ["-t type", "the service's type in master.cf"],
  ["-u", "run with the rights of mail_owner"],
  ["-v", "log more; give it again for yet more"],
  ["-V", "write the log to standard error, too"],
  ["-z", "the service has no process limit"],
];
