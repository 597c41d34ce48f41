/** What the command line asks for (tools.md 9.1); everything that contradicts itself is fatal. */
import { optionLetters } from "../../lib/daemon/help.ts";
import { complain, parseOptions } from "../../lib/daemon/options.ts";
import type { Invocation } from "../../lib/daemon/program.ts";
import { fatal, setVerbosity, verbosity } from "../../lib/log/log.ts";
import { ACTIONS, HELP } from "./help.ts";

export type EditAction = (typeof ACTIONS)[number];

/** Which instances: all of them, a group, or one by its name. */
export type Selection =
  | { readonly kind: "all"; readonly explicit: boolean }
  | { readonly kind: "group"; readonly group: string }
  | { readonly kind: "name"; readonly name: string };

export interface Assignment {
  /** `-I`; empty: no name. */
  readonly name: string | undefined;
  /** `-G`; empty: no group. */
  readonly group: string | undefined;
}

export type Request = { readonly selection: Selection } & (
  | { readonly mode: "list"; readonly reverse: boolean; readonly json: boolean }
  | { readonly mode: "postfix"; readonly words: ReadonlyArray<string> }
  | { readonly mode: "command"; readonly words: ReadonlyArray<string>; readonly reverse: boolean }
  | {
      readonly mode: "edit";
      readonly action: EditAction;
      readonly assign: Assignment;
      readonly settings: ReadonlyArray<string>;
    }
);

const USAGE =
  "Usage:postmulti -l [-v] [-a] [-g group] [-i instance] | postmulti -p [-v] [-a] [-g group] [-i instance] command... | postmulti -x [-v] [-a] [-i name] [-g group] command... | postmulti -e action [-v] [-a] [-i name] [-g group] [-I name] [-G group] [param=value ...]";

const isAction = (text: string): text is EditAction => ACTIONS.some((action) => action === text);
const CREATES: ReadonlySet<EditAction> = new Set(["create", "import"]);
const ASSIGNS: ReadonlySet<EditAction> = new Set(["create", "import", "assign"]);

/** The options as they stand. */
class Given {
  /** `-l`, `-p`, `-x`, and each different action of `-e`. */
  readonly modes = new Set<"l" | "p" | "x" | EditAction>();
  all = false;
  group: string | undefined;
  name: string | undefined;
  selections = 0;
  newName: string | undefined;
  newGroup: string | undefined;
  json = false;
  reverse = false;
}

/** The value of an option that names something; `-` is nothing. */
const nameOrNone = (text: string): string => (text === "-" ? "" : text);

export function readRequest({ args, processName }: Invocation): Request {
  const parsed = parseOptions(args, optionLetters(HELP));
  const given = new Given();
  for (const { option, value } of parsed.options) take(given, option, value);
  if (!parsed.ok) {
    complain(processName, parsed);
    return fatal(USAGE);
  }
  return check(given, parsed.operands);
}

function take(given: Given, option: string, value: string): void {
  switch (option) {
    case "a":
      given.all = true;
      break;
    case "e":
      if (!isAction(value)) fatal(`Invalid '-e' edit action '${value}'. Specify ${quotedActions()}`);
      given.modes.add(value);
      break;
    case "g":
      given.selections++;
      given.group = value;
      break;
    case "i":
      given.selections++;
      given.name = value;
      break;
    case "G":
      if (given.newGroup !== undefined) fatal("Specify at most one '-G' option");
      given.newGroup = nameOrNone(value);
      if (!isSafe(given.newGroup)) fatal(`Unsafe characters in '-G ${value}'`);
      break;
    case "I":
      if (given.newName !== undefined) fatal("Specify at most one '-I' option");
      given.newName = nameOrNone(value);
      checkName(given.newName);
      break;
    case "j":
      given.json = true;
      break;
    case "R":
      given.reverse = true;
      break;
    case "v":
      setVerbosity(verbosity() + 1);
      break;
    case "l":
    case "p":
    case "x":
      given.modes.add(option);
  }
}

function quotedActions(): string {
  const quoted = ACTIONS.map((action) => `'${action}'`);
  return `${quoted.slice(0, -1).join(", ")} or ${quoted.at(-1)}`;
}

/** Names end up in main.cf, in paths and in the environment of shell scripts. */
const isSafe = (text: string): boolean => /^[A-Za-z0-9!@%_=+:./-]*$/.test(text);

function checkName(name: string): void {
  if (name === "") return;
  if (!name.startsWith("postfix-")) fatal("New instance name must start with 'postfix-'");
  if (name.includes("/")) fatal(`Illegal '/' character in new instance name: '${name}'`);
  if (!isSafe(name)) fatal(`Unsafe characters in new instance name: '${name}'`);
}

function check(given: Given, words: ReadonlyArray<string>): Request {
  if (given.selections + (given.all ? 1 : 0) > 1) fatal("Specity no more than one of '-a', '-g', '-i'");
  const [mode, second] = given.modes;
  if (mode === undefined || second !== undefined) fatal("Specify exactly one of '-e', '-l', '-p', '-x'");
  if (mode === "l" && words.length > 0) fatal("Command not allowed with '-l'");
  if ((mode === "p" || mode === "x") && words.length === 0)
    fatal("Command required with '-p' or '-x' option");
  const edits = mode !== "l" && mode !== "p" && mode !== "x";
  if (given.reverse && (mode === "p" || edits)) fatal("The '-p' and '-e' options preclude the use of '-R'");
  const assigns = given.newName !== undefined || given.newGroup !== undefined;
  if (assigns && !edits) fatal("Cannot assign instance name or group without '-e assign'");
  if (assigns && edits && !ASSIGNS.has(mode)) fatal(`Cannot assign instance name or group with '-e ${mode}'`);
  if (mode === "assign" && !assigns) fatal("Specify new instance name or group with '-e assign'");
  if (edits && !CREATES.has(mode) && words.length > 0)
    fatal(`Parameter overrides not valid with '-e ${mode}'`);
  if (given.json && mode !== "l") fatal("JSON output available only with '-l'");
  const selection = selectionOf(given);
  switch (mode) {
    case "l":
      return { mode: "list", selection, reverse: given.reverse, json: given.json };
    case "p":
      return { mode: "postfix", selection, words };
    case "x":
      return { mode: "command", selection, words, reverse: given.reverse };
    default:
      return {
        mode: "edit",
        action: mode,
        selection,
        assign: { name: given.newName, group: given.newGroup },
        settings: words,
      };
  }
}

function selectionOf({ group, name, all }: Given): Selection {
  if (group !== undefined) return { kind: "group", group };
  return name === undefined ? { kind: "all", explicit: all } : { kind: "name", name };
}
