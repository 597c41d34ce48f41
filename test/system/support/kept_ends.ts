/** Connections that our daemons keep to each other (docs/daemons.md), as the kernel lists them. */
import { readFileSync } from "node:fs";
import type { Instance } from "../../../packaging/instance.ts";
import { daemons } from "./harness.ts";

const NAME = /@posthaste-kept\/(\d+)\.(\d+) (?:public\/cleanup|private\/local)$/gm;

/** Ends of connections to cleanup and local that processes of the instance have right now, by their names. */
export function keptEnds(instance: Instance): string[] {
  const pids = new Set(
    ["smtpd", "pickup", "qmgr", "local", "virtual", "bounce"].flatMap((name) => daemons(instance, name)),
  );
  return [...readFileSync("/proc/net/unix", "latin1").matchAll(NAME)]
    .filter(([, pid]) => pids.has(Number(pid)))
    .map(([name]) => name);
}
