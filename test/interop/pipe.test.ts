/** The real pipe(8) passes the same test as ours: what the test asks for is what Postfix does. */
import t from "tap";
import { checkAll, mainCf, masterCf, prepare } from "../system/pipe/cases.ts";
import { mixedInstance } from "./support/mixed.ts";
import { reference } from "./support/reference.ts";

const programs = reference();

t.test("a real pipe in our system", "missing" in programs ? { skip: programs.missing } : {}, async (t) => {
  if ("missing" in programs) return;
  const mainCfOf = (directory: string): string => {
    prepare(directory);
    return mainCf();
  };
  await checkAll(
    t,
    await mixedInstance(t, programs, { base: "ours", swapped: ["pipe"] }, mainCfOf, masterCf),
  );
});
