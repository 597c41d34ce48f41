/** `postmulti -p` and `-x`: a command for each instance, one after another. */
import { parameter } from "../../lib/config/configuration.ts";
import { splitList } from "../../lib/config/lists.ts";
import type { ParameterName } from "../../lib/config/parameters.ts";
import { fatal } from "../../lib/log/log.ts";
import type { Instance } from "./instances.ts";
import { commandPath, runFor } from "./programs.ts";

const lists = (name: ParameterName, word: string): boolean =>
  splitList(String(parameter(name))).includes(word);

/** Whether the command ended well for every instance. */
export function runPostfix(instances: ReadonlyArray<Instance>, words: ReadonlyArray<string>): boolean {
  const [word = ""] = words;
  const starts = lists("postmulti_start_commands", word);
  const stops = lists("postmulti_stop_commands", word);
  const needsRunning = stops || lists("postmulti_control_commands", word);
  const chosen = instances.filter(({ enabled }) => enabled || !needsRunning);
  if (stops) chosen.reverse();
  return runEach(chosen, (instance) =>
    // what is not to be started is still looked after
    runFor(instance, commandPath("postfix"), ["--", ...(starts && !instance.enabled ? ["check"] : words)]),
  );
}

export const runCommand = (
  instances: ReadonlyArray<Instance>,
  [program = "", ...args]: ReadonlyArray<string>,
): boolean => runEach(instances, (instance) => runFor(instance, program, args));

/** A failure does not keep the other instances from their turn. */
function runEach(instances: ReadonlyArray<Instance>, run: (instance: Instance) => boolean): boolean {
  if (instances.length === 0) fatal("No matching instances");
  return instances.map(run).every((success) => success);
}
