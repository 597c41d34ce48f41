/** spawn(8) as a whole. */
import t from "tap";
import { checkAll, choosePorts, mainCf, masterCf } from "./spawn/cases.ts";
import { NEEDS_ROOT, runningInstance } from "./support/harness.ts";

t.test("spawn", NEEDS_ROOT, async (t) => {
  const ports = await choosePorts();
  await checkAll(t, await runningInstance(t, { mainCf, masterCf: masterCf(ports) }), ports);
});
