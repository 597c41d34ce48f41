import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { Queues } from "../../../lib/queue/directories.ts";
import {
  hashKey,
  inodeOf,
  isLongQueueId,
  isQueueId,
  makeQueueId,
  timeOf,
  withInode,
} from "../../../lib/queue/queue_id.ts";

const vectors = join(import.meta.dirname, "../../vectors/queue");
const load = (name: string) => JSON.parse(readFileSync(join(vectors, name), "utf8"));

t.test("queue IDs encode and decode", async (t) => {
  for (const vector of load("queue_ids.json")) {
    const long = vector.form === "long";
    const parts = {
      seconds: vector.seconds ?? 0,
      microseconds: vector.microseconds,
      inode: BigInt(vector.inode),
    };
    t.equal(makeQueueId(parts, long), vector.id);
    t.equal(isLongQueueId(vector.id), long);
    t.equal(inodeOf(vector.id), BigInt(vector.inode), vector.id);
    t.same(timeOf(vector.id), {
      seconds: long ? vector.seconds : undefined,
      microseconds: vector.microseconds,
    });
    t.equal(hashKey(vector.id), vector.hash_key);
  }
});

t.test("paths of files", async (t) => {
  for (const { queue, id, hash_queue_names, hash_queue_depth, path } of load("hash_paths.json")) {
    const queues = new Queues({
      hashQueueNames: hash_queue_names.join(", "),
      hashQueueDepth: hash_queue_depth,
      longQueueIds: false,
    });
    t.equal(queues.path(queue, id), path);
  }
});

t.test("what is no queue ID", async (t) => {
  for (const text of ["", "a/b", "..", "a.b", "a\0", "a".repeat(256), "a\n", "é"])
    t.notOk(isQueueId(text), text);
  t.ok(isQueueId("a_1"));
  t.equal(inodeOf("12345"), undefined);
  t.equal(inodeOf("12345XYZ"), undefined);
  t.equal(inodeOf("0000000000z"), undefined);
  t.equal(inodeOf("0000000000zA1"), undefined);
  t.equal(hashKey("aaaaaaaaaaaz1"), "00000");
});

t.test("IDs made anew for another inode", async (t) => {
  t.equal(withInode("ABCDE1234", 0x21c1f3n, false), "ABCDE21C1F3");
  t.equal(withInode("4jXMGx1NSQzJfhj", 0x21c203n, false), "2FD7621C203");
  t.equal(withInode("0000010001z10", 52n, true), "0000010001z11");
});
