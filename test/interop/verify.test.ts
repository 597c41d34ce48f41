/** A real verify(8) in our system and ours in a real one; each reads the other's cache. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { checkVerification, dialogue, mainCf } from "../system/verify/cases.ts";
import { continueWith, mixedInstance } from "./support/mixed.ts";
import { type Reference, reference } from "./support/reference.ts";

/** The real programs find their table types by a file. */
function dynamicTypes(directory: string, { libexec }: Reference): void {
  const config = join(directory, "config");
  mkdirSync(config, { recursive: true });
  const library = join(libexec, "../lib/postfix-lmdb.so");
  writeFileSync(join(config, "dynamicmaps.cf"), `lmdb ${library} dict_lmdb_open mkmap_lmdb_open\n`);
}

const programs = reference();
const skip = "missing" in programs ? { skip: programs.missing } : {};

for (const [first, second] of [
  ["ours", "real"],
  ["real", "ours"],
] as const)
  for (const type of ["lmdb"])
    t.test(
      `verify swapped in a system of ${first} programs, then of ${second} ones, with one ${type} cache`,
      skip,
      async (t) => {
        if ("missing" in programs) return;
        const instance = await mixedInstance(
          t,
          programs,
          { base: first, swapped: ["verify"] },
          (directory) => {
            dynamicTypes(directory, programs);
            return `${mainCf}address_verify_map = ${type}:${directory}/data/verify_cache\n`;
          },
          () => "verify unix - - n - 1 verify\n",
        );
        await checkVerification(t, instance);
        await continueWith(instance, programs, { base: second, swapped: ["verify"] });
        const before = instance.maillog().length;
        const lines = await dialogue(instance.smtpPort, [
          "MAIL FROM:<>",
          "RCPT TO:<nobody@localhost>",
          "RCPT TO:<no-such-user@localhost>",
        ]);
        t.same(
          lines.map((line) => line.slice(0, 9)),
          ["250 2.1.0", "250 2.1.5", "450 4.1.1"],
        );
        t.notMatch(instance.maillog().slice(before), /double-bounce@/, "no probe: it was in the cache");
      },
    );
