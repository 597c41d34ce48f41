/** The command line of postconf: options, the mode they ask for, and what does not go together. */

import { parseNames } from "../../lib/config/lists.ts";
import { optionLetters } from "../../lib/daemon/help.ts";
import { parseOptions } from "../../lib/daemon/options.ts";
import { fatal, setVerbosity } from "../../lib/log/log.ts";
import { lowerAscii } from "../../lib/sys/bytes.ts";
import { environmentVariable, setEnvironmentVariable } from "../../lib/sys/environment.ts";
import { HELP } from "./help.ts";

/** Options that exclude each other somewhere, in the order in which messages list them. */
const LISTED = [
  "-a",
  "-A",
  "-b",
  "-C",
  "-d",
  "-e",
  "-f",
  "-F",
  "-h",
  "-H",
  "-j",
  "-l",
  "-m",
  "-M",
  "-n",
  "-o",
  "-p",
  "-P",
  "-t",
  "-T",
  "-x",
  "-X",
  "-#",
  "-PP",
] as const;
export type Option = (typeof LISTED)[number];

export const PARAMETER_CLASSES = ["builtin", "service", "user"] as const;
export type ParameterClass = (typeof PARAMETER_CLASSES)[number];

export interface Request {
  readonly options: ReadonlySet<Option>;
  readonly overrides: ReadonlyArray<string>;
  readonly classes: ReadonlySet<ParameterClass>;
  /** Mode words of -T. */
  readonly tlsMode: string | undefined;
  /** -q */
  readonly quiet: boolean;
  readonly names: ReadonlyArray<string>;
}

const USAGE =
  "[-a (server SASL types)] [-A (client SASL types)] [-b (bounce templates)] [-c config_dir] [-c param_class] [-d (parameter defaults)] [-e (edit configuration)] [-f (fold lines)] [-F (master.cf fields)] [-h (no names)] [-H (no values)] [-j (streaming JSON) ] [-l (lock types)] [-m (map types)] [-M (master.cf)] [-n (non-default parameters)] [-o name=value (override parameter value)] [-p (main.cf, default)] [-P (master.cf parameters)] [-t (bounce templates)] [-T compile-version|run-version|public-key-algorithms] [-v (verbose)] [-x (expand parameter values)] [-X (exclude)] [-# (comment-out)] [name...]";

/** At most one of each set. */
const EXCLUSIVE: ReadonlyArray<ReadonlyArray<Option>> = [
  ["-a", "-A", "-b", "-l", "-m", "-t", "-p", "-M", "-F", "-P", "-T"],
  ["-PP", "-e", "-#", "-X"],
  ["-d", "-e", "-n", "-#", "-X"],
  ["-f", "-e", "-#", "-X"],
  ["-x", "-e", "-#", "-X"],
  ["-o", "-d", "-e", "-#", "-X"],
  ["-h", "-e", "-#", "-X", "-H"],
];

/** What may stand beside an option; beside one that is not here, anything. -C only matters to some, and disturbs none. */
const ALLOWED: ReadonlyArray<readonly [Option, ReadonlyArray<Option>]> = [
  ["-a", []],
  ["-A", []],
  ["-b", []],
  ["-l", []],
  ["-m", []],
  ["-T", []],
  ["-t", []],
  ["-p", ["-e", "-X", "-#", "-f", "-h", "-C", "-x", "-d", "-n", "-o", "-H", "-j"]],
  ["-M", ["-e", "-X", "-#", "-f", "-o", "-x", "-j"]],
  ["-F", ["-e", "-f", "-h", "-o", "-x", "-H", "-j"]],
  ["-P", ["-e", "-X", "-f", "-h", "-o", "-x", "-H", "-j", "-PP"]],
  ["-PP", ["-P", "-f", "-h", "-o", "-x", "-H", "-j"]],
  ["-j", ["-p", "-M", "-F", "-P", "-o", "-x", "-n", "-d"]],
];

/** Reads the command line; every fault in it is fatal. `program` is the name as typed. */
export function readRequest(
  program: string,
  args: ReadonlyArray<string>,
  complain: (line: string) => void,
): Request {
  const parsed = parseOptions(args, optionLetters(HELP));
  const options = new Set<Option>();
  const overrides: string[] = [];
  let classes: ReadonlySet<ParameterClass> = new Set(PARAMETER_CLASSES);
  let tlsMode: string | undefined;
  let quiet = false;
  let verbose = 0;
  for (const { option, value } of parsed.options) {
    switch (option) {
      case "c":
        setEnvironmentVariable("MAIL_CONFIG", value);
        break;
      case "C":
        options.add("-C");
        classes = readClasses(value);
        break;
      case "E":
        return usage(program);
      case "o":
        options.add("-o");
        overrides.push(value);
        break;
      case "P":
        options.add(options.has("-P") ? "-PP" : "-P");
        break;
      case "q":
        quiet = true;
        break;
      case "T":
        if (tlsMode !== undefined) fatal("At most one -T <mode> option may be specified");
        options.add("-T");
        tlsMode = value;
        break;
      case "v":
        setVerbosity(++verbose);
        break;
      default:
        addLetter(options, option);
    }
  }
  if (!parsed.ok) {
    complain(`${program}: ${parsed.problem}`);
    return usage(program);
  }
  const names = parsed.operands;
  if (impliesEdit(options) && names[0]?.includes("=") === true) options.add("-e");
  checkConflicts(options);
  return { options, overrides, classes, tlsMode, quiet, names };
}

const usage = (program: string): never => fatal(`usage: ${program} ${USAGE}`);

function addLetter(options: Set<Option>, letter: string): void {
  if ((letter === "b" && options.has("-t")) || (letter === "t" && options.has("-b")))
    fatal("specify one of -b and -t");
  const option = LISTED.find((candidate) => candidate === `-${letter}`);
  if (option !== undefined) options.add(option);
}

function readClasses(value: string): ReadonlySet<ParameterClass> {
  const known = [...PARAMETER_CLASSES, "all"] as const;
  const parsed = parseNames("-C option", lowerAscii(value), known);
  if (!parsed.ok) {
    const unknown = value
      .split(/[, \t\r\n]+/)
      .find((word) => !known.some((name) => name === lowerAscii(word)));
    return fatal(`unknown -C option value "${unknown}" in "${value}"`);
  }
  if (parsed.names.has("all")) return new Set(PARAMETER_CLASSES);
  return new Set(PARAMETER_CLASSES.filter((name) => parsed.names.has(name)));
}

/** `name=value` means an edit, unless another mode was asked for. */
const impliesEdit = (options: ReadonlySet<Option>): boolean =>
  !(["-a", "-A", "-b", "-l", "-m", "-t", "-T"] as const).some((option) => options.has(option));

function checkConflicts(options: ReadonlySet<Option>): void {
  for (const set of EXCLUSIVE) {
    const given = LISTED.filter((option) => set.includes(option) && options.has(option));
    if (given.length > 1) fatal(`specify one of ${given.join(", ")}`);
  }
  for (const [option, allowed] of ALLOWED) {
    if (!options.has(option)) continue;
    const surplus = LISTED.filter(
      (other) => other !== option && other !== "-C" && options.has(other) && !allowed.includes(other),
    );
    if (surplus.length > 0) fatal(`with option ${option}, do not specify ${surplus.join(", ")}`);
  }
}

/** The configuration directory of the environment, when there is one. */
export const givenDirectory = (): string | undefined => environmentVariable("MAIL_CONFIG");
