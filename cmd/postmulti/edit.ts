/** `postmulti -e`: changes of instances and of the list of them. */

import { parameter } from "../../lib/config/configuration.ts";
import { logAs } from "../../lib/daemon/script_log.ts";
import { fatal } from "../../lib/log/log.ts";
import { pathOf } from "../../lib/sys/bytes.ts";
import { existsSync } from "../../lib/sys/fs.ts";
import { runProgram, statusOf } from "../../lib/sys/program_end.ts";
import { nameInstance, planInstance } from "./create.ts";
import { removeInstance } from "./destroy.ts";
import { type Instance, loadInstances, requireDistinct, select } from "./instances.ts";
import type { Request } from "./options.ts";
import { deportInstance, forgetInstance, setParameters, setPrimary } from "./primary.ts";
import { daemonPath, environmentOf } from "./programs.ts";

type Edit = Extract<Request, { mode: "edit" }>;

/** Every refusal of the request itself comes first, then `work` changes files. */
export function edit(request: Edit): void {
  const work = plan(request);
  logAs("postmulti-script");
  if (request.action !== "init") requireInitialized();
  work();
}

function plan(request: Edit): () => void {
  const { action, assign } = request;
  if (action === "init") {
    return () =>
      setPrimary([
        `multi_instance_wrapper=\${command_directory}/postmulti -p --`,
        "multi_instance_enable=yes",
      ]);
  }
  const instances = loadInstances();
  if (action === "create" || action === "import") return planInstance({ ...request, action }, instances);
  const instance = theOne(request, instances);
  const { config } = instance;
  switch (action) {
    case "enable":
    case "disable":
      return () => setParameters(config, [`multi_instance_enable=${action === "enable" ? "yes" : "no"}`]);
    case "assign": {
      const others = instances.filter((other) => other !== instance);
      if (assign.name !== undefined) requireDistinct({ ...instance, name: assign.name }, others);
      return () => nameInstance(config, assign);
    }
    case "deport":
      requireSecondary(instance);
      return () => deportInstance(config);
    case "destroy":
      requireSecondary(instance);
      if (instance.enabled) fatal("Cannot remove enabled instances");
      return () => {
        if (isRunning(instance)) fatal(`Instance '${config}' is not stopped`);
        forgetInstance(config);
        removeInstance(instance);
      };
  }
}

function theOne({ selection }: Edit, instances: ReadonlyArray<Instance>): Instance {
  if (selection.kind !== "name") return fatal("Select an instance via '-i name'");
  return select(instances, selection)[0] ?? fatal(`No instance named ${selection.name}`);
}

function requireSecondary({ primary }: Instance): void {
  if (primary) fatal("Cannot remove the primary instance");
}

function requireInitialized(): void {
  const first = "run 'postmulti -e init' first.";
  if (parameter("multi_instance_wrapper") === "") fatal(`multi_instance_wrapper is empty, ${first}`);
  if (!parameter("multi_instance_enable")) fatal(`multi_instance_enable!=yes, ${first}`);
}

/** master -t says that none runs; without a queue directory it cannot. */
const isRunning = (instance: Instance): boolean =>
  existsSync(pathOf(instance.queue)) &&
  statusOf(
    runProgram({
      path: daemonPath("master"),
      argv: ["master", "-t"],
      environment: environmentOf(instance),
      descriptors: ["null", "null", "null"],
    }),
  ) !== 0;
