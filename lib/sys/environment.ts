/** The environment of this process, as byte strings: the runtime takes and gives text, which not every byte string is. */

import { encodeUtf8 } from "./bytes.ts";
import { errorCode } from "./errno.ts";
import { readFileSync } from "./fs.ts";

export type Environment = ReadonlyMap<string, string>;

/** What the runtime puts in the place of bytes that are no UTF-8. */
const REPLACEMENT = "\ufffd";
const KERNELS_COPY = "/proc/self/environ";

/** What the runtime makes of a byte string. */
const shown = (bytes: string): string => Buffer.from(bytes, "latin1").toString("utf8");

/** The variables whose text has lost bytes, by the text `name=value`: those that were set here, then those that the kernel knows. */
const exact = new Map<string, readonly [name: string, value: string]>();
let inherited: ReadonlyMap<string, readonly [name: string, value: string]> | undefined;

function bytesOf(name: string, value: string): readonly [name: string, value: string] {
  if (!name.includes(REPLACEMENT) && !value.includes(REPLACEMENT))
    return [encodeUtf8(name), encodeUtf8(value)];
  const text = `${name}=${value}`;
  const set = exact.get(text);
  if (set !== undefined) return set;
  inherited ??= inheritedEnvironment();
  return inherited.get(text) ?? [encodeUtf8(name), encodeUtf8(value)];
}

/** The environment of this process. */
export function currentEnvironment(): Map<string, string> {
  const environment = new Map<string, string>();
  for (const [name, value] of Object.entries(process.env))
    if (value !== undefined) environment.set(...bytesOf(name, value));
  return environment;
}

/** One variable. */
export function environmentVariable(name: string): string | undefined {
  const text = shown(name);
  const value = Object.hasOwn(process.env, text) ? process.env[text] : undefined;
  return value === undefined ? undefined : bytesOf(text, value)[1];
}

export function setEnvironmentVariable(name: string, value: string): void {
  const [nameText, text] = [shown(name), shown(value)];
  if (nameText.includes(REPLACEMENT) || text.includes(REPLACEMENT))
    exact.set(`${nameText}=${text}`, [name, value]);
  process.env[nameText] = text;
}

/** Makes this the environment of the process. */
export function installEnvironment(environment: Environment): void {
  const current = currentEnvironment();
  for (const name of current.keys()) if (!environment.has(name)) delete process.env[shown(name)];
  for (const [name, value] of environment)
    if (current.get(name) !== value) setEnvironmentVariable(name, value);
}

/** The variables that the process was started with, by what the runtime makes of them. Empty where the kernel does not tell. */
function inheritedEnvironment(): Map<string, readonly [string, string]> {
  const variables = new Map<string, readonly [string, string]>();
  let text: string;
  try {
    text = readFileSync(KERNELS_COPY, "latin1");
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return variables;
  }
  for (const variable of text.split("\0")) {
    const equals = variable.indexOf("=");
    if (equals > 0) variables.set(shown(variable), [variable.slice(0, equals), variable.slice(equals + 1)]);
  }
  return variables;
}
