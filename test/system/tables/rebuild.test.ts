/** Tables that are rebuilt while they are read. */
import t from "tap";
import { Postmap } from "./servers/postmap.ts";

t.setTimeout(120_000);
const REBUILDS = 4;
const READERS = 3;

for (const type of ["lmdb", "hash", "btree", "cdb", "sdbm", "dbm"])
  t.test(`${type}: each answer is the old or the new one (TAB-13)`, async (t) => {
    const postmap = new Postmap(t);
    // large enough that a reader can come in between
    const others = Array.from({ length: 5000 }, (_, index) => `other${index} x\n`).join("");
    const content = (value: string): string => `${others}key ${value}\n`;
    const path = postmap.write("t", content("one"));
    const table = `${type}:${path}`;
    t.equal((await postmap.run([table])).status, 0);
    let done = false;
    const seen = new Set<string>();
    const read = async (): Promise<void> => {
      while (!done) {
        const run = await postmap.query(table, "key");
        seen.add(JSON.stringify([run.status, run.stdout, run.stderr]));
      }
    };
    const rebuild = async (): Promise<void> => {
      for (let round = 0; round < REBUILDS; round++) {
        postmap.write("t", content(round % 2 === 0 ? "two" : "one"));
        t.equal((await postmap.run([table])).status, 0);
      }
      done = true;
    };
    await Promise.all([rebuild(), ...Array.from({ length: READERS }, read)]);
    seen.delete(JSON.stringify([0, "one\n", ""]));
    seen.delete(JSON.stringify([0, "two\n", ""]));
    t.same([...seen], []);
  });
