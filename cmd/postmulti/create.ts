/** `postmulti -e create` and `-e import`: another instance in the list, made from the stock files when it is new. */

import { parameter } from "../../lib/config/configuration.ts";
import { DEFAULT_DIRECTORY } from "../../lib/config/directory.ts";
import { readMainCf } from "../../lib/config/main_cf.ts";
import type { ParameterName } from "../../lib/config/parameters.ts";
import { fatal } from "../../lib/log/log.ts";
import { pathOf, trimSpace } from "../../lib/sys/bytes.ts";
import { errorText } from "../../lib/sys/errno.ts";
import { chmodSync, copyFileSync, existsSync, mkdirSync, statSync } from "../../lib/sys/fs.ts";
import { type Instance, loadSecondary, requireDistinct, requireUnused, select } from "./instances.ts";
import type { Assignment, EditAction, Selection } from "./options.ts";
import { addInstance, setParameters } from "./primary.ts";
import { commandPath, mustRun } from "./programs.ts";

const DIRECTORIES = ["config_directory", "queue_directory", "data_directory"] as const;
type Directory = (typeof DIRECTORIES)[number];
const isDirectory = (name: string): name is Directory => DIRECTORIES.some((known) => known === name);

export interface NewInstance {
  readonly action: Extract<EditAction, "create" | "import">;
  readonly assign: Assignment;
  readonly settings: ReadonlyArray<string>;
  readonly selection: Selection;
}

/** Whether an instance is there already: it is taken as it is. */
const exists = (config: string): boolean =>
  existsSync(pathOf(`${config}/main.cf`)) && existsSync(pathOf(`${config}/master.cf`));

/** Everything is checked before anything is changed; the result does the work. */
export function planInstance(request: NewInstance, instances: ReadonlyArray<Instance>): () => void {
  const { action, assign, selection } = request;
  const given = readSettings(request);
  const place = (name: Directory): string =>
    given.get(name) ?? derive(name, assign.name) ?? fatal(`Missing ${name} parameter value`);
  const config = place("config_directory");
  requireUnused(config, instances);
  const found = action === "import" || exists(config);
  const instance: Instance = {
    ...(found
      ? loadSecondary(config)
      : {
          primary: false,
          config,
          queue: place("queue_directory"),
          data: place("data_directory"),
          name: "",
          group: "",
          enabled: false,
          logName: "",
        }),
    ...(assign.name === undefined ? {} : { name: assign.name }),
    ...(assign.group === undefined ? {} : { group: assign.group }),
  };
  requireDistinct(instance, instances);
  const before = successor(selection, instances);
  return () => {
    if (found) requireFiles(config);
    else makeFiles(instance);
    nameInstance(config, assign);
    addInstance(config, before);
    if (!found) mustRun(commandPath("postfix"), ["-c", config, "set-permissions"]);
  };
}

function readSettings({ settings, action }: NewInstance): Map<Directory, string> {
  const given = new Map<Directory, string>();
  for (const setting of settings) {
    const at = setting.indexOf("=");
    if (at < 0) fatal(`Malformed parameter setting '${setting}'`);
    const name = trimSpace(setting.slice(0, at));
    const value = trimSpace(setting.slice(at + 1));
    if (!isDirectory(name) || (action === "import" && name !== "config_directory"))
      return fatal(`Parameter '${name}' not valid with action ${action}`);
    if (!value.startsWith("/")) fatal(`Parameter setting '${name}' is not an absolute path`);
    given.set(name, withoutSlash(value));
  }
  return given;
}

function withoutSlash(path: string): string {
  let { length } = path;
  while (length > 1 && path.charAt(length - 1) === "/") length--;
  return path.slice(0, length);
}

/** Beside the primary instance's directory, under the instance's own name. */
function derive(name: Directory, instance: string | undefined): string | undefined {
  if (instance === undefined || instance === "") return undefined;
  const primary = name === "config_directory" ? DEFAULT_DIRECTORY : parameter(name);
  return `${primary.slice(0, primary.lastIndexOf("/"))}/${instance}`;
}

/** The configuration directory of the instance that the new one comes before. */
function successor(selection: Selection, instances: ReadonlyArray<Instance>): string | undefined {
  if (selection.kind === "all" && !selection.explicit) return undefined;
  const [first] = select(
    instances.filter(({ primary }) => !primary),
    selection,
  );
  if (first === undefined && selection.kind !== "all") fatal("No matching secondary instances");
  return first?.config;
}

function requireFiles(config: string): void {
  for (const file of ["main.cf", "master.cf"])
    if (!existsSync(pathOf(`${config}/${file}`))) fatal(`'${config}' lacks a ${file} file`);
}

/** Parameters that say where the shared files are: as in the primary instance. */
const SHARED: ReadonlyArray<ParameterName> = [
  "command_directory",
  "daemon_directory",
  "meta_directory",
  "mail_owner",
  "setgid_group",
  "sendmail_path",
  "mailq_path",
  "newaliases_path",
  "html_directory",
  "manpage_directory",
  "sample_directory",
  "readme_directory",
  "shlib_directory",
];

const FILES = ["main.cf", "master.cf"] as const;
const prototypeOf = (file: (typeof FILES)[number]): string => `${parameter("meta_directory")}/${file}.proto`;

function makeDirectory(path: string, mode: number): void {
  if (statSync(pathOf(path), { throwIfNoEntry: false })?.isDirectory() === true) return;
  try {
    mkdirSync(pathOf(path), { recursive: true, mode });
  } catch (error) {
    fatal(`cannot create directory ${path}: ${errorText(error)}`);
  }
}

function makeFiles({ config, queue, data }: Instance): void {
  for (const file of FILES)
    if (!existsSync(pathOf(prototypeOf(file)))) fatal(`Missing ${file} prototype: ${prototypeOf(file)}`);
  for (const [path, mode] of [
    [config, 0o755],
    [queue, 0o755],
    [data, 0o700],
  ] as const)
    makeDirectory(path, mode);
  for (const file of FILES) {
    const path = pathOf(`${config}/${file}`);
    copyFileSync(pathOf(prototypeOf(file)), path);
    chmodSync(path, 0o644);
  }
  const { entries } = readMainCf(DEFAULT_DIRECTORY, new Map());
  const own = SHARED.filter((name) => entries.has(name));
  const common = SHARED.filter((name) => !entries.has(name));
  if (common.length > 0) mustRun(commandPath("postconf"), ["-c", config, "-#", ...common]);
  setParameters(config, [
    ...own.map((name) => `${name}=${entries.get(name)}`),
    `queue_directory=${queue}`,
    `data_directory=${data}`,
    // an instance for special mail takes none from this machine's users, and listens nowhere yet
    "authorized_submit_users=",
    "master_service_disable=inet",
  ]);
}

/** Gives an instance the name and group asked for. */
export function nameInstance(config: string, { name, group }: Assignment): void {
  const settings: string[] = [];
  if (name !== undefined) settings.push(`multi_instance_name=${name}`);
  if (group !== undefined) settings.push(`multi_instance_group=${group}`);
  if (settings.length > 0) setParameters(config, settings);
}
