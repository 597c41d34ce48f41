/** Starting somebody's command: with their rights for good, a clean environment, a session of its own, and three descriptors (delivery.md 3.4). */

import { pathOf } from "../sys/bytes.ts";
import { errorCode, errorText } from "../sys/errno.ts";
import { statSync } from "../sys/fs.ts";
import { realUid } from "../sys/identity.ts";
import { type ProgramEnd, startWatched } from "../sys/program_end.ts";
import { asUser, startAs } from "./identity.ts";

export interface CommandStart {
  /** The program: a path. In a chroot: of the jail, or a name to look for in PATH there. */
  readonly path: string;
  readonly argv: ReadonlyArray<string>;
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups; default the group alone. */
  readonly groups?: ReadonlyArray<number>;
  /** Complete environment. */
  readonly environment: ReadonlyMap<string, string>;
  /** Directory; the present one when undefined. In a chroot: of the jail. */
  readonly directory?: string;
  readonly chroot?: string;
  /** Descriptors that become 0, 1 and 2. They are not closed here. */
  readonly stdio: readonly [number, number, number];
}

export interface RunningCommand {
  readonly pid: number;
  readonly ended: Promise<ProgramEnd>;
  /** Starts through a helper, whose own failures are recognised by helperRefusal(). */
  readonly helped: boolean;
  /** SIGKILL to the command and everything that it started in its session's group. */
  killGroup(): void;
}

export type StartResult =
  | { readonly kind: "running"; readonly command: RunningCommand }
  /** The system has no process to spare. */
  | { readonly kind: "no process"; readonly reason: string }
  | Refusal;

/** What the child would have said, while it did `step`: `execvp /x/y: No such file or directory`. */
export interface Refusal {
  readonly kind: "refused";
  readonly step: "chroot" | "chdir" | "exec";
  readonly problem: string;
}

const UNSHARE = "/usr/bin/unshare";

/** chroot() concerns a whole process, so a helper does it in the child: chroot, chdir, setgroups, setgid, setuid, exec. */
function jailed(start: CommandStart, jail: string): string[] {
  const { path, argv, directory = "/", uid, gid } = start;
  return [
    UNSHARE,
    `--root=${jail}`,
    `--wd=${directory}`,
    `--setgid=${gid}`,
    `--setuid=${uid}`,
    "--",
    path,
    ...argv.slice(1),
  ];
}

/** The refusal that the output of a helped command stands for, when it is its helper's complaint. */
export function helperRefusal(output: string, start: CommandStart): Refusal | undefined {
  const complaint =
    /^unshare: (failed to execute|cannot chdir to|[^\n]*?root directory[^\n:]*)([^\n]*)\n$/.exec(output);
  if (complaint === null) return undefined;
  const [, what, rest = ""] = complaint;
  const reason = rest.slice(rest.lastIndexOf(": ") + 2);
  const { uid, gid, chroot, argv, directory = "/" } = start;
  switch (what) {
    case "failed to execute":
      return { kind: "refused", step: "exec", problem: `execvp ${argv[0]}: ${reason}` };
    case "cannot chdir to":
      return {
        kind: "refused",
        step: "chdir",
        problem: `cannot change directory to "${directory}" for uid=${uid} gid=${gid}: ${reason}`,
      };
    default:
      return { kind: "refused", step: "chroot", problem: `chroot(${chroot}): ${reason}` };
  }
}

const NO_PROCESS: ReadonlySet<string> = new Set(["EAGAIN", "ENOMEM", "EMFILE", "ENFILE"]);

/** Starts a command. It has a session of its own, default signals but for SIGPIPE, which it ignores as with Postfix, the given ids and no descriptor but 0, 1 and 2. */
export function startCommand(start: CommandStart): StartResult {
  const { path, argv, uid, gid, groups, environment, directory, chroot, stdio } = start;
  const common = { environment, session: true, keepIgnoringPipe: true, descriptors: stdio };
  if (chroot !== undefined) {
    if (realUid() !== 0)
      return { kind: "refused", step: "chroot", problem: `chroot(${chroot}): Operation not permitted` };
    const words = jailed(start, chroot);
    return attempt(start, () => startWatched({ ...common, path: UNSHARE, argv: words }), true);
  }
  const identity = { uid, gid, ...(groups === undefined ? {} : { groups }) };
  const program = { ...common, path, argv, ...(directory === undefined ? {} : { directory }) };
  return attempt(start, () => startAs(identity, () => startWatched(program)), false);
}

function attempt(start: CommandStart, run: () => Watched, helped: boolean): StartResult {
  let watched: Watched;
  try {
    watched = run();
  } catch (error) {
    const code = errorCode(error);
    if (code === undefined) throw error;
    if (NO_PROCESS.has(code)) return { kind: "no process", reason: errorText(error) };
    const problem = directoryProblem(start);
    return problem === undefined
      ? { kind: "refused", step: "exec", problem: `execvp ${start.argv[0]}: ${errorText(error)}` }
      : { kind: "refused", step: "chdir", problem };
  }
  const { pid, ended } = watched;
  return { kind: "running", command: { pid, ended, helped, killGroup: () => killGroup(pid) } };
}

type Watched = ReturnType<typeof startWatched>;

/** posix_spawn() does not say whether chdir() or execve() failed. */
function directoryProblem({ directory, chroot, uid, gid }: CommandStart): string | undefined {
  if (directory === undefined || chroot !== undefined) return undefined;
  const reason = asUser({ uid, gid }, () => {
    try {
      // the dot takes the right to go there
      statSync(pathOf(`${directory}/.`));
      return undefined;
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      return errorText(error);
    }
  });
  return reason === undefined
    ? undefined
    : `cannot change directory to "${directory}" for uid=${uid} gid=${gid}: ${reason}`;
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    // everything in it ended in this very moment
    if (errorCode(error) !== "ESRCH") throw error;
  }
}
