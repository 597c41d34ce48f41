/** `postmulti -l` */
import { print } from "../../lib/daemon/command.ts";
import { jsonString } from "../../lib/sys/json_string.ts";
import type { Instance } from "./instances.ts";

const orDash = (text: string): string => (text === "" ? "-" : text);

export function listInstances(instances: ReadonlyArray<Instance>, json: boolean): void {
  for (const instance of instances) print(json ? jsonLine(instance) : line(instance));
}

const line = ({ name, group, enabled, config }: Instance): string =>
  `${orDash(name).padEnd(15)} ${orDash(group).padEnd(15)} ${(enabled ? "y" : "n").padEnd(9)} ${config}\n`;

function jsonLine({ name, group, enabled, config }: Instance): string {
  const members = [
    ["name", orDash(name)],
    ["group", orDash(group)],
    ["enabled", enabled ? "y" : "n"],
    ["config_directory", config],
  ] as const;
  return `{${members.map(([key, value]) => `"${key}": ${jsonString(value)}`).join(",")}}\n`;
}
