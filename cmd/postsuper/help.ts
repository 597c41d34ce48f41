import type { CommandHelp } from "../../lib/daemon/help.ts";

export const HELP: CommandHelp = {
  name: "postsuper",
  section: 1,
  summary: "repair the mail queue, and delete, hold, release, requeue or expire messages",
  usage: [
    "[-psSv] [-c config_dir] [-d queue_id] [-e queue_id] [-f queue_id] [-h queue_id] [-H queue_id] [-r queue_id] [queue...]",
  ],
  operands: ["maildrop", "incoming", "active", "deferred", "hold", "bounce", "defer", "trace", "flush"],
  options: [
    ["-c config_dir", "use main.cf of this directory (absolute path)", "directory"],
    ["-d queue_id", "delete a message; ALL: every one; -: IDs from standard input", "queue-ids"],
    ["-e queue_id", "return a message to its sender at the next delivery attempt", "queue-ids"],
    ["-f queue_id", "the same, also for a message on hold", "queue-ids"],
    ["-h queue_id", "put a message on hold", "queue-ids"],
    ["-H queue_id", "release a message that is on hold", "queue-ids"],
    ["-p", "remove old temporary files"],
    ["-r queue_id", "put a message through the cleanup server again", "queue-ids"],
    ["-s", "check and repair the queue's structure"],
    ["-S", "the same, twice over, after a restore from backup"],
    ["-v", "log more; give it again for yet more"],
  ],
};
