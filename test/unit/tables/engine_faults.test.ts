/** JS-29: a fault of ours or of the engine within a table is never taken for an answer of that table. */
import t from "tap";
import { configurationFromText, installConfiguration } from "../../../lib/config/configuration.ts";
import { setLogSinks } from "../../../lib/log/log.ts";
import { TableList } from "../../../lib/tables/list.ts";
import { MatchList } from "../../../lib/tables/match.ts";
import { openTable } from "../../../lib/tables/open.ts";
import { allowSurrogates } from "../../../lib/tables/policy.ts";
import { TableFlag } from "../../../lib/tables/table.ts";

installConfiguration(configurationFromText("compatibility_level = 3.11\n"));
setLogSinks([() => undefined]);
allowSurrogates(true);

/** The flags with which each reader opens the table, so that it gets the handle that was broken. */
const { lock, fold_fix, utf8_request } = TableFlag;
const FLAGS = [0, lock, fold_fix, lock | fold_fix, lock | utf8_request];
const FAULTS = [
  () => new RangeError("Maximum call stack size exceeded"),
  () => new RangeError("Out of memory"),
  () => new TypeError("undefined is not an object"),
  () => new ReferenceError("x is not defined"),
];

t.test("JS-29 faults of the engine within a table are no answers", async (t) => {
  let number = 0;
  for (const fault of FAULTS)
    for (const late of [false, true])
      for (const [form, other] of [
        ["NAME", "the table alone"],
        ["inline:{x=y} NAME", "the second one"],
        ["unionmap:{inline:{x=y},NAME}", "in a unionmap"],
        ["pipemap:{static:key,NAME}", "in a pipemap"],
      ] as const) {
        const name = `inline:{n${number++}=v}`;
        const failure = fault();
        let reached = 0;
        const asked = (): number => reached;
        for (const flags of FLAGS) {
          const table = await openTable(name, { flags });
          Object.assign(table, {
            lookup() {
              reached++;
              if (late) return Promise.reject(failure);
              throw failure;
            },
          });
        }
        const where = `${failure.message}, ${other}, ${late ? "later" : "at once"}`;
        const spec = form.replace("NAME", name);
        for (const flags of FLAGS) {
          const list = await TableList.open("test_maps", spec, flags);
          const verdict = await Promise.resolve()
            .then(() => list.lookup("key"))
            .then(
              (result) => result.kind,
              (thrown: unknown) => thrown,
            );
          t.ok(verdict === failure || verdict === "error", `${where}: ${String(verdict)}`);
        }
        if (form === "NAME")
          for (const kind of ["string", "domain", "namadr"] as const) {
            const before = asked();
            const list = await MatchList.open("test_list", `!${name}, static:all`, kind);
            const verdict = await Promise.resolve()
              .then(() => list.matches("key.test", "192.0.2.1"))
              .catch((thrown: unknown) => thrown);
            t.ok(verdict === failure || verdict === "error", `${where}: ${kind} ${JSON.stringify(verdict)}`);
            t.ok(asked() > before, `${where}: ${kind} asked the table`);
          }
        t.ok(reached > 0, `${where}: the table was asked`);
      }
});
