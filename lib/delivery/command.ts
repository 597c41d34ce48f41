/** Delivery to a command: starting it and judging its end (delivery.md 3.4). */

import { ClientAbort, logClientAbort, loggable, warning } from "../log/log.ts";
import { asUser } from "../privsep/identity.ts";
import { type CommandResult, type CommandStep, runCommand } from "../privsep/run_command.ts";
import type { Refusal } from "../privsep/start_command.ts";
import { pathOf, printable, splitAny } from "../sys/bytes.ts";
import { errorCode, errorText } from "../sys/errno.ts";
import { statSync } from "../sys/fs.ts";
import { type CopyEnd, type CopyOptions, type CopySource, copyMessage } from "./copy.ts";
import { type Dsn, dsn, takeDsn } from "./status.ts";

const OUTPUT_LIMIT = 4096;
/** The default search path of commands. */
export const COMMAND_PATH = "/usr/bin:/bin";

export interface CommandDelivery {
  /** Program and arguments, or a command line of an alias, .forward file or parameter. */
  readonly command: ReadonlyArray<string> | string;
  /** local_command_shell; empty: none. Only for command lines. */
  readonly shell?: string;
  readonly uid: number;
  readonly gid: number;
  readonly environment: ReadonlyMap<string, string>;
  readonly directory?: string;
  readonly chroot?: string;
  readonly source: CopySource;
  readonly copy: CopyOptions;
  /** Seconds. */
  readonly timeLimit: number;
  /** For what the child would log: the program's name. */
  readonly program: string;
  /** What stands before `execvp ...`. */
  readonly execComplaint?: string;
}

export type CommandOutcome =
  | { readonly kind: "ok" /** Masked output of the command. */; readonly output: string }
  | { readonly kind: "failed"; readonly dsn: Dsn }
  | { readonly kind: "corrupt"; readonly recordType: number };

/** Runs the command with the message as its input. */
export async function deliverToCommand(delivery: CommandDelivery): Promise<CommandOutcome> {
  const { command, uid, gid, environment, directory, chroot, timeLimit } = delivery;
  const name = typeof command === "string" ? command : (command[0] ?? "");
  const found = typeof command === "string" ? commandLine(command, delivery) : vector(command, delivery);
  if (!found.ok) return judge(name, notStarted(found, delivery), undefined);
  let end: CopyEnd | undefined;
  function* input(): Generator<Uint8Array> {
    end = yield* copyMessage(delivery.source, delivery.copy);
  }
  const { path, argv } = found;
  const result = await runCommand({
    path,
    argv,
    uid,
    gid,
    environment,
    input: input(),
    timeLimit,
    outputLimit: OUTPUT_LIMIT,
    ...(directory === undefined ? {} : { directory }),
    ...(chroot === undefined ? {} : { chroot }),
  });
  if (result.kind === "timeout") warning(TIMEOUT_WARNINGS[result.step]);
  return judge(name, result.kind === "refused" ? notStarted(result, delivery) : result, end);
}

const TIMEOUT_WARNINGS: Readonly<Record<CommandStep, string>> = {
  write: "pipe_command_write: write time limit exceeded",
  read: "pipe_command_read: read time limit exceeded",
  wait: "pipe_command_wait_or_kill: child wait time limit exceeded",
};

type Program =
  | { readonly ok: true; readonly path: string; readonly argv: ReadonlyArray<string> }
  | ({ readonly ok: false } & Refusal);

const refused = (program: string, reason: string): Program => ({
  ok: false,
  kind: "refused",
  step: "exec",
  problem: `execvp ${program}: ${reason}`,
});

const shell = (argv: ReadonlyArray<string>): Program => ({ ok: true, path: "/bin/sh", argv });

/** No shell for a command line without shell syntax. */
const SIMPLE = /^[A-Za-z0-9!@%_=+:,./\- \t]+$/;

/** What is executed for a command line. */
function commandLine(text: string, delivery: CommandDelivery): Program {
  if (delivery.shell !== undefined && delivery.shell !== "")
    return vector([...splitAny(delivery.shell, " \t"), text], delivery);
  const words = splitAny(text, " \t");
  const [program] = words;
  if (program === undefined || !SIMPLE.test(text)) return shell(["sh", "-c", text]);
  const found = findProgram(program, delivery);
  if (found.ok) return { ok: true, path: found.path, argv: words };
  // a name that is no file may still be one of the shell's own
  if (found.code === "ENOENT" && !program.includes("/")) return shell(["sh", "-c", text]);
  return refused(program, found.reason);
}

function vector(argv: ReadonlyArray<string>, delivery: CommandDelivery): Program {
  const [program = ""] = argv;
  if (delivery.chroot !== undefined) return { ok: true, path: program, argv };
  const found = findProgram(program, delivery);
  return found.ok ? { ok: true, path: found.path, argv } : refused(program, found.reason);
}

/** What the child would have said before it gave up: some of it goes to the log alone. */
function notStarted({ step, problem }: Refusal, delivery: CommandDelivery): CommandResult {
  const text = step === "exec" ? `${delivery.execComplaint ?? ""}${problem}` : problem;
  logClientAbort(new ClientAbort(text));
  return {
    kind: "exit",
    status: 75,
    output: step === "exec" ? `${delivery.program}: fatal: ${loggable(text)}\n` : "",
  };
}

export type Found =
  | { readonly ok: true; readonly path: string }
  | { readonly ok: false; readonly code: string; readonly reason: string };

/** Where execvp() would find a program, with the rights of the user. */
export function findProgram(program: string, user: Pick<CommandDelivery, "uid" | "gid">): Found {
  if (program === "") return { ok: false, code: "ENOENT", reason: "No such file or directory" };
  const paths = program.includes("/")
    ? [program]
    : COMMAND_PATH.split(":").map((directory) => `${directory}/${program}`);
  return asUser({ uid: user.uid, gid: user.gid }, () => {
    let failure: Found = { ok: false, code: "ENOENT", reason: "No such file or directory" };
    for (const path of paths) {
      try {
        const stat = statSync(pathOf(path));
        if (stat.isFile() && (stat.mode & 0o111) !== 0) return { ok: true, path };
        failure = { ok: false, code: "EACCES", reason: "Permission denied" };
      } catch (error) {
        const code = errorCode(error);
        if (code === undefined) throw error;
        if (code !== "ENOENT") failure = { ok: false, code, reason: errorText(error) };
      }
    }
    return failure;
  });
}

/** Exit statuses of sysexits.h. */
const EXITS: ReadonlyMap<number, readonly [status: string, text: string]> = new Map([
  [64, ["5.3.0", "command line usage error"]],
  [65, ["5.6.0", "data format error"]],
  [66, ["5.3.0", "cannot open input"]],
  [67, ["5.1.1", "user unknown"]],
  [68, ["5.1.2", "host name unknown"]],
  [69, ["5.3.0", "service unavailable"]],
  [70, ["5.3.0", "internal software error"]],
  [71, ["4.3.0", "system resource problem"]],
  [72, ["5.3.0", "critical OS file missing"]],
  [73, ["5.2.0", "can't create user output file"]],
  [74, ["5.3.0", "input/output error"]],
  [75, ["4.3.0", "temporary failure"]],
  [76, ["5.5.0", "remote error in protocol"]],
  [77, ["5.7.0", "permission denied"]],
  [78, ["5.3.5", "local configuration error"]],
]);

/** Output as it stands in reasons: tabs and newlines are blanks, other unprintable bytes `_`. */
const maskOutput = (output: string): string => printable(output.replace(/[\t\n]/g, " "), false, "_");

function judge(name: string, result: CommandResult, end: CopyEnd | undefined): CommandOutcome {
  const output = maskOutput(result.output);
  const suffix = output === "" ? "" : `. Command output: ${output}`;
  const failed = (status: string, reason: string, text: string): CommandOutcome => ({
    kind: "failed",
    dsn: dsn(status, reason, { diagnosticType: "x-unix", diagnosticText: output === "" ? text : output }),
  });
  switch (result.kind) {
    case "failed": {
      warning(`fork: ${result.reason}`);
      return { kind: "failed", dsn: dsn("4.3.0", `Delivery failed: ${result.reason}`) };
    }
    case "timeout":
      return failed("5.3.0", `Command time limit exceeded: "${name}"${suffix}`, "internal software error");
    case "signal":
      return failed(
        "4.3.0",
        `Command died with signal ${result.signal}: "${name}"${suffix}`,
        `Command died with signal ${result.signal}`,
      );
    case "refused":
      return { kind: "failed", dsn: dsn("4.3.0", result.problem) };
    case "exit":
      break;
  }
  if (result.status !== 0) {
    const own = takeDsn(output);
    if (own !== undefined)
      return {
        kind: "failed",
        dsn: dsn(own.status, own.text, { diagnosticType: "x-unix", diagnosticText: own.text }),
      };
    const known = EXITS.get(result.status);
    if (known !== undefined) return failed(known[0], `${known[1]}${suffix}`, known[1]);
    return failed(
      "5.3.0",
      `Command died with status ${result.status}: "${name}"${suffix}`,
      `unknown mail system error ${result.status}`,
    );
  }
  if (end?.kind === "corrupt") return end;
  if (end?.kind === "unreadable")
    return { kind: "failed", dsn: { ...end.dsn, reason: `Command failed: ${end.dsn.reason}: "${name}"` } };
  return { kind: "ok", output };
}
