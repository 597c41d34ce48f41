import type { CommandHelp } from "../../lib/daemon/help.ts";

export const HELP: CommandHelp = {
  name: "postdrop",
  section: 1,
  summary: "put a message into the maildrop queue, for sendmail(1)",
  usage: ["[-rv] [-c config_dir]"],
  options: [
    ["-c config_dir", "use main.cf of this directory, if the default one lists it", "directory"],
    ["-r", "accepted and ignored"],
    ["-v", "log more (only for the superuser)"],
  ],
};
