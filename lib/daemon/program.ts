/** What a program is: a main function that is given its name, arguments and environment as byte strings. */

import { ConfigurationError } from "../config/settings.ts";
import { fatal } from "../log/log.ts";
import { encodeUtf8 } from "../sys/bytes.ts";
import { currentEnvironment } from "../sys/environment.ts";
import { SysError } from "../sys/errno.ts";
import { existsSync, readFileSync } from "../sys/fs.ts";
import { baseName } from "../sys/paths.ts";

export interface Invocation {
  /** As the caller named it, path included. */
  readonly argv0: string;
  /** Last component of argv0. */
  readonly processName: string;
  readonly args: ReadonlyArray<string>;
  readonly environment: ReadonlyMap<string, string>;
}

export type Main = (invocation: Invocation) => Promise<void>;

/** The invocation of this process. */
export function ownInvocation(): Invocation {
  const argv0 = encodeUtf8(process.argv0);
  return { argv0, processName: baseName(argv0), args: ownArguments(), environment: currentEnvironment() };
}

/** What the runtime puts in the place of bytes that are no UTF-8. */
const REPLACEMENT = "\ufffd";

/** The arguments as bytes: the runtime decodes them, which loses those that are no UTF-8; the kernel still has them. */
function ownArguments(): string[] {
  const decoded = process.argv.slice(2);
  if (!decoded.some((argument) => argument.includes(REPLACEMENT)) || !existsSync(COMMAND_LINE))
    return decoded.map(encodeUtf8);
  const words = readFileSync(COMMAND_LINE, "latin1").split("\0").slice(0, -1);
  return words.slice(words.length - decoded.length);
}

const COMMAND_LINE = "/proc/self/cmdline";

/** Runs a program's main function. An exception that nothing expected ends the process, with its reason in the log. */
export async function launch(main: Main): Promise<void> {
  process.on("uncaughtException", dieOf);
  process.on("unhandledRejection", dieOf);
  try {
    await main(ownInvocation());
  } catch (error) {
    dieOf(error);
  }
}

/** A failed system call is fatal as it is; anything else is a broken invariant and shows where. */
function dieOf(error: unknown): never {
  if (error instanceof SysError || error instanceof ConfigurationError) return fatal(error.message);
  if (error instanceof Error && "code" in error && typeof error.code === "string")
    return fatal(error.message);
  const where =
    error instanceof Error ? (error.stack ?? error.message).split("\n", 4).join(" | ") : String(error);
  return fatal(`internal error: ${where}`);
}
