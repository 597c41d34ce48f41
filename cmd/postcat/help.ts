import type { CommandHelp } from "../../lib/daemon/help.ts";

export const HELP: CommandHelp = {
  name: "postcat",
  section: 1,
  summary: "show the content of queue files",
  usage: [
    "[-bdefhorv] [-c config_dir] [-s offset] [file...]",
    "-q [-bdefhorv] [-c config_dir] [-s offset] queue_id...",
  ],
  operands: "file",
  options: [
    ["-b", "show the body"],
    ["-c config_dir", "use main.cf of this directory", "directory"],
    ["-d", "show record types as numbers"],
    ["-e", "show the envelope"],
    ["-f", "begin each line with the file name"],
    ["-h", "show the header"],
    ["-o", "begin each line with the offset of its record"],
    ["-q", "arguments are queue IDs: look for the files in the queue"],
    ["-r", "show pointer records and do not follow them"],
    ["-s offset", "start at this offset of the file"],
    ["-v", "log more, and show every record"],
  ],
};
