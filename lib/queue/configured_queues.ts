/** The queue directories as main.cf sets them up. */
import { type Configuration, configuration, parameter } from "../config/configuration.ts";
import { Queues } from "./directories.ts";
import type { FileSystem } from "./file_system.ts";

const byConfiguration = new WeakMap<Configuration, Queues>();

/** The queues of the installed configuration. */
export function queues(files?: FileSystem): Queues {
  const current = configuration();
  const known = byConfiguration.get(current);
  if (known !== undefined) return known;
  const settings = {
    hashQueueNames: String(parameter("hash_queue_names")),
    hashQueueDepth: Number(parameter("hash_queue_depth")),
    longQueueIds: parameter("enable_long_queue_ids") === true,
  };
  const made = new Queues(settings, files);
  byConfiguration.set(current, made);
  return made;
}
