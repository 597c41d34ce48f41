/** The last step of a daemon's start: from here on it can do what its profile says, and nothing can change that. */
import { warning } from "../log/log.ts";
import { realUid } from "../sys/identity.ts";
import { forbidNewPrivileges } from "../sys/process.ts";
import { hasFilters, installFilter } from "../sys/seccomp.ts";
import { thisMachine } from "../sys/system_calls.ts";
import { filterOf, type Profile } from "./profile.ts";

/** `off`: nothing; `warn`: what the profile denies is done all the same, and noted in the audit log; `enforce`. */
export const SANDBOX_MODES = ["off", "warn", "enforce"] as const;
export type SandboxMode = (typeof SANDBOX_MODES)[number];

/** Applies a profile. What the kernel lacks is said once; the rest holds. */
export function enterSandbox(profile: Profile, mode: SandboxMode): void {
  if (mode === "off") return;
  // set-uid and set-gid programs are part of what users' commands may be
  if (profile.executes !== true) forbidNewPrivileges();
  else if (realUid() !== 0) return;
  const machine = thisMachine();
  if (machine === undefined || !hasFilters()) {
    warning(`sandbox: no filter of system calls on this ${machine === undefined ? "machine" : "kernel"}`);
    return;
  }
  installFilter(filterOf(profile, process.pid, mode === "warn" ? "log" : { errno: 1 }), machine);
}
