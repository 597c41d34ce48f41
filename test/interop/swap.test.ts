/** Each daemon of ours alone inside a real Postfix, and each real daemon alone inside ours: mail flows, and each speaks the other's protocols. */
import t from "tap";
import { exercise, mixedInstance, SHARED_DAEMONS } from "./support/mixed.ts";
import { reference } from "./support/reference.ts";

const programs = reference();
const skip = "missing" in programs ? { skip: programs.missing } : {};

for (const daemon of SHARED_DAEMONS) {
  t.test(`our ${daemon} in a real Postfix`, skip, async (t) => {
    if ("missing" in programs) return;
    const instance = await mixedInstance(t, programs, { base: "real", swapped: [daemon] });
    await exercise(t, instance);
  });
  t.test(`a real ${daemon} in our system`, skip, async (t) => {
    if ("missing" in programs) return;
    const instance = await mixedInstance(t, programs, { base: "ours", swapped: [daemon] });
    await exercise(t, instance);
  });
}

for (const command of ["sendmail", "postdrop", "postqueue", "postkick", "postcat", "postsuper"]) {
  t.test(`a real ${command} with our daemons`, skip, async (t) => {
    if ("missing" in programs) return;
    await exercise(t, await mixedInstance(t, programs, { base: "ours", swapped: [command] }));
  });
  t.test(`our ${command} with real daemons`, skip, async (t) => {
    if ("missing" in programs) return;
    await exercise(t, await mixedInstance(t, programs, { base: "real", swapped: [command] }));
  });
}
