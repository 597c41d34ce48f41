import t from "tap";
import { randomInt } from "../../../lib/sys/random.ts";

t.test("every number below the limit has the same chance", async (t) => {
  t.equal(randomInt(1), 0);
  for (const limit of [3, 7, 10]) {
    const counts = Array.from({ length: limit }, () => 0);
    for (let n = 0; n < limit * 2000; n++) {
      const value = randomInt(limit);
      counts[value] = (counts[value] ?? Number.NaN) + 1;
    }
    t.equal(counts.length, limit);
    for (const count of counts) t.ok(count > 1700 && count < 2300, `${count} of about 2000`);
  }
  const large = Array.from({ length: 200 }, () => randomInt(2 ** 32));
  t.ok(new Set(large).size > 195);
  t.ok(large.some((value) => value >= 2 ** 31));
});
