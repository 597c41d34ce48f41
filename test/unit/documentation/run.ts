/** Runs a command's main function under Bun, as if it had been found through PATH: `run.ts NAME ARGUMENT...`. */
import type { Main } from "../../../lib/daemon/program.ts";
import { ownInvocation } from "../../../lib/daemon/program.ts";

const invocation = ownInvocation();
const [name = "", ...args] = invocation.args;
const { main } = (await import(`../../../cmd/${name}/main.ts`)) as { main: Main };
await main({ ...invocation, argv0: name, processName: name, args });
