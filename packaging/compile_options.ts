/** How `bun build` makes an executable of ours. */

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
];

/** It reads no configuration of the runtime where it is started. */
export const AUTOLOAD_OFF: ReadonlyArray<string> = [
  "--no-compile-autoload-dotenv",
  "--no-compile-autoload-bunfig",
  "--no-compile-autoload-tsconfig",
  "--no-compile-autoload-package-json",
];
