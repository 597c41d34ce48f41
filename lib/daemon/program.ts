/** What a program is: a main function that is given its name, arguments and environment as byte strings. */
import { basename } from "node:path";
import { ConfigurationError } from "../config/settings.ts";
import { fatal } from "../log/log.ts";
import { encodeUtf8 } from "../sys/bytes.ts";
import { SysError } from "../sys/errno.ts";

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
  const environment = new Map<string, string>();
  for (const [name, value] of Object.entries(process.env))
    if (value !== undefined) environment.set(encodeUtf8(name), encodeUtf8(value));
  return { argv0, processName: basename(argv0), args: process.argv.slice(2).map(encodeUtf8), environment };
}

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
