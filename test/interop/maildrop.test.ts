/** pickup(8) and postsuper(1) beside real ones in a maildrop that everybody may write to. */
import { chownSync, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Instance } from "../../packaging/instance.ts";
import { expectOutcomes, kinds, type Place, playAll, USER } from "../security/support/maildrop_games.ts";
import { idOf } from "../system/support/queue_damage.ts";
import { command, end, type Mixture, mixedInstance } from "./support/mixed.ts";
import { reference } from "./support/reference.ts";

t.setTimeout(120_000);
const real = reference();
const skip = "missing" in real ? { skip: real.missing } : {};

async function play(t: Test, mixture: Mixture): Promise<unknown> {
  if ("missing" in real) return undefined;
  const seen: { place?: Place; ids?: ReadonlyMap<string, string> } = {};
  const prepare = (instance: Instance): void => {
    const home = join(instance.directory, "home");
    mkdirSync(home);
    chownSync(home, USER.uid, USER.gid);
    const { uid, gid } = statSync(join(instance.queue, "active"));
    const maildrop = join(instance.queue, "maildrop");
    seen.place = {
      maildrop,
      home,
      to: `${instance.who.recipient}@localhost`,
      owner: { uid, gid },
      real: mixture.base === "real",
    };
    seen.ids = playAll(seen.place, idOf);
  };
  const instance = await mixedInstance(t, real, mixture, "", undefined, prepare);
  const { place, ids } = seen;
  if (place === undefined || ids === undefined) throw new Error("nothing was played");
  await expectOutcomes(t, instance, place, ids);
  await end(instance);
  const left = kinds(place.maildrop);
  const repaired = command(instance, "postsuper", ["-s", "-p", "maildrop"]);
  const lines = repaired.stderr
    .replace(/^\S*postsuper: /gm, "")
    .split("\n")
    .sort();
  return { left, status: repaired.status, lines, after: kinds(place.maildrop) };
}

t.test("the games of users", skip, async (t) => {
  const theirs = await play(t, { base: "real", swapped: [] });
  const ours = await play(t, { base: "ours", swapped: [] });
  t.same(ours, theirs);
});
