import type { CommandHelp } from "../../lib/daemon/help.ts";

export const HELP: CommandHelp = {
  name: "postalias",
  section: 1,
  summary: "build, query and list alias tables",
  usage: ["[-Nfinoprsuvw] [-c config_dir] [-d key] [-q key] [map_type:]file..."],
  operands: "table",
  options: [
    ["-c config_dir", "use main.cf of this directory", "directory"],
    ["-d key", "delete an entry; -: read keys from standard input"],
    ["-f", "keep upper case in keys"],
    ["-i", "add the entries of standard input to the table"],
    ["-j", "write what -q or -s shows as JSON"],
    ["-N", "store a null byte after keys and values"],
    ["-n", "store no null byte after keys and values"],
    ["-o", "stay root, even if root does not own the source file"],
    ["-p", "do not give the index the permissions of the source file"],
    ["-q key", "show the value of an entry; -: read keys from standard input"],
    ["-r", "replace an entry that exists, without a warning"],
    ["-s", "show all entries of the first table"],
    ["-u", "do not treat keys as UTF-8"],
    ["-v", "log more; give it again for yet more"],
    ["-w", "keep an entry that exists, without a warning"],
  ],
};
