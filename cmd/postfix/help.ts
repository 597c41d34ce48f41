import type { CommandHelp } from "../../lib/daemon/help.ts";

export const HELP: CommandHelp = {
  name: "postfix",
  section: 1,
  summary: "control the mail system",
  usage: ["[-Dv] [-c config_dir] command [argument...]"],
  options: [
    ["-c config_dir", "control the instance of this directory (absolute path)", "directory"],
    ["-D", "start a debugger on each daemon (debugger_command)"],
    ["-v", "log more, in this program and in what it starts"],
  ],
  commands: [
    ["start", "check the installation and start the mail system"],
    ["start-fg", "the same, staying in the foreground"],
    ["stop", "stop; deliveries that are under way end first"],
    ["quick-stop", "stop, and skip the checks at the next start"],
    ["abort", "stop without waiting"],
    ["drain", "stop taking work; running processes finish theirs"],
    ["reload", "read the configuration again"],
    ["flush", "try to deliver all deferred mail now"],
    ["check", "look for wrong owners, permissions and missing directories"],
    ["status", "say whether the mail system runs"],
    ["set-permissions", "set owners and permissions of the installed files"],
    ["upgrade-configuration", "add what a newer release needs to main.cf and master.cf"],
    ["post-install", "the program behind the last two"],
    ["logrotate", "rename maillog_file and begin a new one"],
    ["tls", "set up TLS (not supported yet)"],
    ["non-bdb", "move from Berkeley DB tables to others"],
    ["start_msg", "print what start is called in system menus"],
    ["stop_msg", "print what stop is called in system menus"],
  ],
};
