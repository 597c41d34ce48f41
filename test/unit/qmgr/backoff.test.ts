import { readFileSync } from "node:fs";
import t from "tap";
import { backoff } from "../../../cmd/qmgr/finish.ts";

interface Case {
  minimal_backoff_time: number;
  maximal_backoff_time: number;
  seconds_since_create_time: number;
  delay: number;
}

t.test("the delays of a real queue manager", async (t) => {
  const cases = JSON.parse(
    readFileSync(new URL("../../vectors/qmgr/backoff.json", import.meta.url), "utf8"),
  ) as Case[];
  for (const one of cases)
    t.equal(
      backoff(one.seconds_since_create_time, one.minimal_backoff_time, one.maximal_backoff_time),
      one.delay,
    );
});
