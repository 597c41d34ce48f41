/** The scenarios of test/scripts/smtpd are what a real Postfix does; with RECORD=1 they are written from it. */
import t from "tap";
import { differences, Stage } from "../system/scripts/replay.ts";
import { mixedInstance } from "./support/mixed.ts";
import { reference } from "./support/reference.ts";

const programs = reference();
const skip = "missing" in programs ? { skip: programs.missing } : {};
t.setTimeout(600_000);
/** The scripts were recorded from it; a part of them is enough to see that they still are what it does (ALL=1 plays all). */
const SAMPLE = 10;
const recording = process.env.RECORD !== undefined;

t.test("a real smtpd behaves as the scripts say", { ...skip, timeout: 600_000 }, async (t) => {
  if ("missing" in programs) return;
  const stage = await Stage.open(recording || process.env.ALL !== undefined ? 1 : SAMPLE);
  t.teardown(() => stage.close());
  const instance = await mixedInstance(
    t,
    programs,
    { base: "real", swapped: [] },
    stage.mainCf,
    () => stage.masterCf,
    (made) => stage.prepareJail(made),
  );
  const played = await stage.play(instance, recording);
  if (recording) {
    stage.write(played);
    return;
  }
  for (const { file, want, got } of played) t.same(differences(want, got), [], `${file}: ${want.name}`);
});
