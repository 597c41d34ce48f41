/** The fuzzers for some seconds each, from a fixed seed, and every input that once broke one. `npm run fuzz` runs them for hours. */
import t from "tap";
import { corpus } from "../../fuzz/corpus.ts";
import { attempt, cases, fuzz } from "../../fuzz/runner.ts";
import { TARGETS } from "../../fuzz/targets.ts";

const SEED = 20261129;
/** A minute in all. */
const SECONDS = 60 / TARGETS.size;

for (const [name, load] of TARGETS)
  t.test(name, async (t) => {
    const target = await load();
    for (const [file, input] of cases(name)) {
      await target.check(Buffer.from(input));
      t.pass(file);
    }
    for (const [label, input] of corpus(name)) {
      const broken = await attempt(target, input);
      if (broken !== undefined)
        t.fail(`${label}: ${broken.error instanceof Error ? broken.error.stack : broken.error}`);
      else t.pass(label);
    }
    const { count, broken } = await fuzz(target, SEED, SECONDS);
    if (broken !== undefined)
      t.comment(
        `${broken.input.toString("hex").slice(0, 2000)}\n${broken.error instanceof Error ? broken.error.stack : broken.error}`,
      );
    t.equal(broken, undefined);
    t.comment(`${count} inputs`);
    t.ok(count > 20);
  });
