import type { CommandHelp } from "../../lib/daemon/help.ts";

/** What `-e` can do. */
export const ACTIONS = [
  "create",
  "destroy",
  "import",
  "deport",
  "enable",
  "disable",
  "assign",
  "init",
] as const;

export const HELP: CommandHelp = {
  name: "postmulti",
  section: 1,
  summary: "manage several instances of the mail system",
  usage: [
    "-l [-jRv] [-a | -g group | -i name]",
    "-p [-v] [-a | -g group | -i name] command [argument...]",
    "-x [-Rv] [-a | -g group | -i name] command [argument...]",
    "-e action [-v] [-a | -g group | -i name] [-G group] [-I name] [name=value...]",
  ],
  operands: "program",
  options: [
    ["-a", "all instances (the default); with -e create or import: become the first one"],
    ["-e action", "change an instance or the list of instances", ACTIONS],
    ["-g group", "instances of this group; with -e create or import: take a place before it"],
    ["-G group", "the group of a new instance, or another group of an instance; -: none"],
    ["-i name", "one instance: its name, or its configuration directory; -: the primary one"],
    ["-I name", "the name of a new instance, or another name of an instance; -: none"],
    ["-j", "with -l: JSON, one object a line"],
    ["-l", "list instances: name, group, whether enabled, configuration directory"],
    ["-p", "run a command of postfix(1) for instances"],
    ["-R", "go from the last instance to the first"],
    ["-v", "log more; give it again for yet more"],
    ["-x", "run any command in the environment of each instance"],
  ],
};
