import type { CommandHelp } from "../../lib/daemon/help.ts";

export const HELP: CommandHelp = {
  name: "postkick",
  section: 1,
  summary: "send a request to a service",
  usage: ["[-v] [-c config_dir] class service request"],
  operands: ["public", "private", "qmgr", "pickup", "flush"],
  options: [
    ["-c config_dir", "use main.cf of this directory", "directory"],
    ["-v", "log more; give it again for yet more"],
  ],
};
