import type { CommandHelp } from "../../lib/daemon/help.ts";

export const HELP: CommandHelp = {
  name: "postqueue",
  section: 1,
  summary: "list the mail queue, or ask for delivery attempts",
  usage: [
    "[-v] [-c config_dir] -p",
    "[-v] [-c config_dir] -j",
    "[-v] [-c config_dir] -f",
    "[-v] [-c config_dir] -i queue_id",
    "[-v] [-c config_dir] -s site",
  ],
  options: [
    ["-c config_dir", "use main.cf of this directory, if the default one lists it", "directory"],
    ["-f", "try to deliver all queued mail now"],
    ["-i queue_id", "try to deliver this deferred message now", "queue-id"],
    ["-j", "list the queue as JSON, one object a message"],
    ["-p", "list the queue"],
    ["-s site", "try to deliver all mail for this destination now (fast_flush_domains)"],
    ["-v", "log more (only for the superuser)"],
  ],
};
