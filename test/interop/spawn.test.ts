/** The real spawn(8) passes the same test as ours. */
import t from "tap";
import { checkAll, choosePorts, mainCf, masterCf } from "../system/spawn/cases.ts";
import { mixedInstance } from "./support/mixed.ts";
import { reference } from "./support/reference.ts";

const programs = reference();

t.test("a real spawn in our system", "missing" in programs ? { skip: programs.missing } : {}, async (t) => {
  if ("missing" in programs) return;
  const ports = await choosePorts();
  const mixture = { base: "ours", swapped: ["spawn"] } as const;
  await checkAll(t, await mixedInstance(t, programs, mixture, mainCf, () => masterCf(ports)), ports);
});
