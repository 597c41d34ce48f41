import t from "tap";
import { Remembered } from "../../../cmd/showq/remembered.ts";

const bytes = (text: string): [Buffer, number, number] => [Buffer.from(`<${text}>`), 1, 1 + text.length];

t.test("few and many recipients, once each, up to the limit", async (t) => {
  for (const limit of [1, 3, 4, 5, 100, Number.POSITIVE_INFINITY]) {
    const remembered = new Remembered(limit);
    for (const message of [1, 2]) {
      remembered.clear();
      const names = Array.from({ length: 10 }, (_, index) => `${message}${"x".repeat(index)}@y`);
      for (const name of names) {
        remembered.add(...bytes(name));
        remembered.add(...bytes(name));
      }
      t.same(
        names.map((name) => remembered.has(...bytes(name))),
        names.map((_, index) => index < limit),
        `limit ${limit}`,
      );
      t.notOk(remembered.has(...bytes("")));
      t.notOk(remembered.has(...bytes(`${message === 1 ? 2 : 1}@y`)));
    }
  }
});
