/** Runs a command on a kernel that has no filters of system calls, as far as the command can tell. Run by Bun, as root. */
import { installFilter } from "../../../lib/sys/seccomp.ts";
import { thisMachine } from "../../../lib/sys/system_calls.ts";

const PR_GET_SECCOMP = 21;
const EINVAL = 22;
const machine = thisMachine();
const [program = "", ...args] = process.argv.slice(2);
if (machine === undefined) process.exit(1);
installFilter(
  {
    rules: [
      { call: "seccomp", verdict: { errno: 38 } },
      { call: "prctl", verdict: { errno: EINVAL }, when: { argument: 0, oneOf: [PR_GET_SECCOMP] } },
    ],
    otherwise: "allow",
  },
  machine,
);
const result = Bun.spawnSync([program, ...args], { stdio: ["ignore", "inherit", "inherit"] });
process.exit(result.exitCode);
