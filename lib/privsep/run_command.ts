/** Running somebody's command: with their rights for good, a clean environment, its own session, and limits (delivery.md 3.4). */
import { closeSync, constants, openSync } from "node:fs";
import { decodeUtf8 } from "../sys/bytes.ts";
import { effectiveUid, realUid } from "../sys/identity.ts";

export interface CommandRequest {
  /** Program and arguments, or a line for /bin/sh -c. */
  readonly command: ReadonlyArray<string> | { readonly shell: string };
  readonly uid: number;
  readonly gid: number;
  readonly groups?: ReadonlyArray<number>;
  /** Complete environment. */
  readonly environment: ReadonlyMap<string, string>;
  /** Directory; the queue directory when undefined. */
  readonly directory?: string;
  readonly chroot?: string;
  /** Descriptor that becomes standard input; /dev/null when undefined. It is not closed here. */
  readonly stdin?: number;
  /** Chunks for the standard input, written as the command reads them. */
  readonly input?: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  /** Seconds; then the command's whole process group is killed. */
  readonly timeLimit: number;
  /** Bytes of output (standard output and error together) that are kept; the rest is read and dropped. */
  readonly outputLimit: number;
}

export type CommandResult = {
  /** Output, a byte string. */
  readonly output: string;
  /** Not all of the input could be written. */
  readonly inputFailed: boolean;
} & (
  | { readonly kind: "exit"; readonly status: number }
  | { readonly kind: "signal"; readonly signal: string }
  | { readonly kind: "timeout" }
  /** The command could not be started. */
  | { readonly kind: "failed"; readonly reason: string }
);

/** The helper that drops rights in the child before the command starts: util-linux's setpriv needs none of our code in the child. */
const SETPRIV = "/usr/bin/setpriv";

/**
 * Runs a command to its end. The child has the given ids for good before it executes anything, a session of its own, default
 * signals, and no descriptor but 0, 1 and 2.
 */
export async function runCommand(request: CommandRequest): Promise<CommandResult> {
  const argv = "shell" in request.command ? ["/bin/sh", "-c", request.command.shell] : [...request.command];
  const dropping = realUid() === 0 || effectiveUid() === 0;
  const groups = request.groups ?? [request.gid];
  const drop = dropping
    ? [SETPRIV, `--reuid=${request.uid}`, `--regid=${request.gid}`, `--groups=${groups.join(",")}`]
    : [];
  const jail = request.chroot === undefined ? [] : ["/usr/sbin/chroot", request.chroot];
  const command = [...jail, ...drop, ...(dropping ? ["--"] : []), ...argv].map((word) =>
    Buffer.from(word, "latin1").toString("utf8"),
  );
  const environment = Object.fromEntries(
    [...request.environment].map(([name, value]) => [decodeUtf8(name) ?? name, decodeUtf8(value) ?? value]),
  );
  const devNull =
    request.stdin === undefined && request.input === undefined
      ? openSync("/dev/null", constants.O_RDONLY)
      : -1;
  let child: ReturnType<typeof spawn>;
  try {
    child = spawn(command, request, environment, devNull);
  } catch (error) {
    if (error instanceof TypeError) throw error;
    return {
      kind: "failed",
      reason: error instanceof Error ? error.message : String(error),
      output: "",
      inputFailed: false,
    };
  } finally {
    if (devNull >= 0) closeSync(devNull);
  }

  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    killGroup(child.pid);
  }, request.timeLimit * 1000);
  const [inputFailed, output] = await Promise.all([
    feed(child, request.input),
    collect(child, request.outputLimit),
  ]);
  await child.exited;
  clearTimeout(timer);
  if (timedOut) return { kind: "timeout", output, inputFailed };
  if (child.signalCode !== null)
    return { kind: "signal", signal: String(child.signalCode), output, inputFailed };
  return { kind: "exit", status: child.exitCode ?? 1, output, inputFailed };
}

function spawn(
  command: string[],
  request: CommandRequest,
  environment: Record<string, string>,
  devNull: number,
) {
  return Bun.spawn({
    cmd: command,
    env: environment,
    ...(request.directory === undefined ? {} : { cwd: decodeUtf8(request.directory) ?? request.directory }),
    // a session of its own: the time limit kills everything that the command started
    detached: true,
    stdin: request.input !== undefined ? "pipe" : (request.stdin ?? devNull),
    stdout: "pipe",
    stderr: "pipe",
  } as unknown as { cmd: string[] }) as unknown as Child;
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    // it ended in this very moment
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

type Child = import("bun").Subprocess<"pipe", "pipe", "pipe">;

async function feed(child: Child, input: CommandRequest["input"]): Promise<boolean> {
  if (input === undefined) return false;
  let failed = false;
  try {
    for await (const chunk of input) {
      child.stdin.write(chunk);
      await child.stdin.flush();
      if (child.exitCode !== null || child.signalCode !== null) {
        failed = true;
        break;
      }
    }
    await child.stdin.end();
  } catch (error) {
    // the command does not read all of its input: its exit status decides
    if (!(error instanceof Error && "code" in error && error.code === "EPIPE")) throw error;
    failed = true;
  }
  return failed;
}

async function collect(child: Child, limit: number): Promise<string> {
  let output = "";
  const read = async (stream: ReadableStream<Uint8Array>): Promise<void> => {
    for await (const chunk of stream as unknown as AsyncIterable<Uint8Array>)
      if (output.length < limit)
        output += Buffer.from(chunk)
          .toString("latin1")
          .slice(0, limit - output.length);
  };
  await Promise.all([read(child.stdout), read(child.stderr)]);
  return output;
}
