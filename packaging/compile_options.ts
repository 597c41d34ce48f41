/** How `bun build` makes an executable of ours. */
import { parameterRows } from "../lib/config/parameter_rows.ts";

/**
 * What goes into it. socks is installed for the tools of the tests, and mongodb would take it for its own. pino asks where its files are, which is
 * where we build, for transports that we do not use.
 */
export const BUNDLE: ReadonlyArray<string> = [
  "--minify",
  "--format=esm",
  "--target=bun",
  "--external=socks",
  '--define=__dirname="/"',
  '--define=__filename="/pino.js"',
  `--define=PARAMETER_ROWS=${JSON.stringify(parameterRows())}`,
];

/**
 * Compiled to the runtime's bytecode, and at its start compiled no further before it has run this many times as often as usual: most of it runs once.
 * Daemons go back to what is usual when they begin to serve (lib/sys/compiler.ts); work on much data gets there by itself.
 */
export const START_COLD: ReadonlyArray<string> = ["--bytecode", "--compile-jit-policy=20"];

/** It reads no configuration of the runtime where it is started. */
export const AUTOLOAD_OFF: ReadonlyArray<string> = [
  "--no-compile-autoload-dotenv",
  "--no-compile-autoload-bunfig",
  "--no-compile-autoload-tsconfig",
  "--no-compile-autoload-package-json",
];
