/** smtpd(8) answers and logs what a real Postfix did, in every scenario of test/scripts/smtpd. */
import t from "tap";
import { differences, Stage } from "./scripts/replay.ts";
import { isRoot, runningInstance } from "./support/harness.ts";

t.setTimeout(300_000);

t.test(
  "sessions recorded from a real Postfix",
  { skip: isRoot ? false : "needs root", timeout: 300_000 },
  async (t) => {
    const stage = await Stage.open();
    t.teardown(() => stage.close());
    const instance = await runningInstance(t, {
      stopped: true,
      mainCf: stage.mainCf,
      masterCf: stage.masterCf,
    });
    stage.prepareJail(instance);
    instance.start();
    for (const { file, want, got } of await stage.play(instance, false))
      t.same(differences(want, got), [], `${file}: ${want.name}`);
  },
);
