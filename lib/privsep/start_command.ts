/** Starting somebody's command: with their rights for good, a clean environment, a session of its own, and three descriptors (delivery.md 3.4). */
import { statSync } from "node:fs";
import { decodeUtf8, pathOf } from "../sys/bytes.ts";
import { errorCode, errorText, SysError } from "../sys/errno.ts";
import { realUid } from "../sys/identity.ts";
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

export type CommandEnd =
  | { readonly kind: "exit"; readonly status: number }
  | { readonly kind: "signal"; readonly signal: string };

export interface RunningCommand {
  readonly pid: number;
  readonly ended: Promise<CommandEnd>;
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

/** Starts a command. It has a session of its own, default signals, the given ids and no descriptor but 0, 1 and 2. */
export function startCommand(start: CommandStart): StartResult {
  const { chroot } = start;
  if (chroot !== undefined) {
    if (realUid() !== 0)
      return { kind: "refused", step: "chroot", problem: `chroot(${chroot}): Operation not permitted` };
    return attempt(start, () => spawn(start, UNSHARE, jailed(start, chroot), undefined), true);
  }
  const identity = {
    uid: start.uid,
    gid: start.gid,
    ...(start.groups === undefined ? {} : { groups: start.groups }),
  };
  const run = (path: string, argv: ReadonlyArray<string>) => () =>
    startAs(identity, () => spawn(start, path, argv, start.directory));
  const result = attempt(start, run(start.path, start.argv), false);
  // a script without "#!": execvp() gives it to the shell
  if (result.kind === "refused" && result.problem.endsWith(NO_FORMAT))
    return attempt(start, run("/bin/sh", ["sh", start.path, ...start.argv.slice(1)]), false);
  return result;
}

const NO_FORMAT = "Exec format error";

function attempt(start: CommandStart, run: () => Child, helped: boolean): StartResult {
  let child: Child;
  try {
    child = run();
  } catch (error) {
    const code = errorCode(error);
    if (code === undefined) throw error;
    if (NO_PROCESS.has(code)) return { kind: "no process", reason: errorText(error) };
    const problem = directoryProblem(start);
    return problem === undefined
      ? { kind: "refused", step: "exec", problem: `execvp ${start.argv[0]}: ${errorText(error)}` }
      : { kind: "refused", step: "chdir", problem };
  }
  const { pid } = child;
  const ended = child.exited.then(
    (status): CommandEnd =>
      child.signalCode === null
        ? { kind: "exit", status: child.exitCode ?? status }
        : { kind: "signal", signal: String(child.signalCode) },
  );
  return { kind: "running", command: { pid, ended, helped, killGroup: () => killGroup(pid) } };
}

/** The runtime reports a failed chdir() as a failure to execute. */
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

type Child = Pick<import("bun").Subprocess, "pid" | "exited" | "exitCode" | "signalCode">;

/** The runtime takes text, and encodes it as UTF-8. */
const text = (bytes: string): string => decodeUtf8(bytes) ?? bytes;

function spawn(
  start: CommandStart,
  path: string,
  argv: ReadonlyArray<string>,
  directory: string | undefined,
): Child {
  for (const word of argv) if (word.includes("\0")) throw new SysError("execve", 22, path);
  return Bun.spawn({
    cmd: [path, ...argv.slice(1)].map(text),
    argv0: text(argv[0] ?? path),
    env: Object.fromEntries([...start.environment].map(([name, value]) => [text(name), text(value)])),
    ...(directory === undefined ? {} : { cwd: text(directory) }),
    detached: true,
    stdin: start.stdio[0],
    stdout: start.stdio[1],
    stderr: start.stdio[2],
  } as unknown as { cmd: string[] }) as unknown as Child;
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    // everything in it ended in this very moment
    if (errorCode(error) !== "ESRCH") throw error;
  }
}
