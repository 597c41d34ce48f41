import type { CommandHelp } from "../../lib/daemon/help.ts";

export const HELP: CommandHelp = {
  name: "qshape",
  section: 1,
  summary: "show how old the mail in the queue is, by domain",
  usage: [
    "[-lps] [-b buckets] [-c config_dir] [-m subdomains] [-N messages] [-n domains] [-t minutes] [-w width] [queue...]",
  ],
  operands: ["maildrop", "incoming", "active", "deferred", "hold"],
  options: [
    ["-b buckets", "number of columns, each for an interval of age (10)"],
    ["-c config_dir", "use main.cf of this directory", "directory"],
    ["-l", "intervals of equal length; otherwise each is twice as long as the one before"],
    ["-m subdomains", "with -p: subdomains that a parent domain must have to be shown (5)"],
    ["-N messages", "on a terminal: show what there is after so many messages (1000)"],
    ["-n domains", "on a terminal: show only so many domains (20)"],
    ["-p", "also show parent domains, with a dot before the name"],
    ["-s", "count messages by sender domain, in place of recipients by recipient domain"],
    ["-t minutes", "end of the first interval (5)"],
    ["-w width", "columns of a line, more than 80"],
  ],
};
