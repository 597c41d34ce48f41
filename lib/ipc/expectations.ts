/** Services that are about to be asked: master starts them while this process is still busy with what comes before (docs/daemons.md). */
import type { ServiceClass } from "./client.ts";

/** A service that was started ahead stays for a while, as any does. */
const AGAIN_MILLISECONDS = 10_000;

let report: ((path: string) => void) | undefined;
const reported = new Map<string, number>();

/** Where expectations go; without it nobody is told. */
export function setExpectationReport(to: (path: string) => void): void {
  report = to;
}

/** A request of ours to `CLASS/NAME` will follow for all that is known now. */
export function expectService(serviceClass: ServiceClass, name: string): void {
  if (report === undefined) return;
  const path = `${serviceClass}/${name}`;
  const now = performance.now();
  if (now - (reported.get(path) ?? Number.NEGATIVE_INFINITY) < AGAIN_MILLISECONDS) return;
  reported.set(path, now);
  report(path);
}
