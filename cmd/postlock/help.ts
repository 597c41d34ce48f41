import type { CommandHelp } from "../../lib/daemon/help.ts";

export const HELP: CommandHelp = {
  name: "postlock",
  section: 1,
  summary: "run a command while a mail folder is locked",
  usage: ["[-v] [-c config_dir] [-l lock_style] folder command [argument...]"],
  operands: "file",
  options: [
    ["-c config_dir", "use main.cf of this directory", "directory"],
    ["-l lock_style", "how to lock, in place of mailbox_delivery_lock", ["fcntl", "flock", "dotlock"]],
    ["-v", "log more; give it again for yet more"],
  ],
};
