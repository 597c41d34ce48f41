import t from "tap";
import { replay, scenarios } from "./harness.ts";

/** Needs what a later issue brings, or a library that Node cannot load. */
const LATER = /sasl|tls|milter|haproxy|requiretls|STARTTLS/i;
const FOREIGN = /regexp:|pcre:|lmdb:/;
/** Recorded behaviour that we do not share, with the reason. */
const DIFFERENT = new Map([
  ["line_way_too_long", "how much of an endless line is one request depends on the buffers of the C library"],
  ["proxy_garbage", "a filter's reply that is not one reply is not passed on (PRX-05)"],
  ["bdat_way_too_large", "the rest of a chunk that is not read is dropped, not taken for commands"],
]);
t.setTimeout(120_000);
const only = process.env.ONLY?.split(",");

for (const file of ["protocol", "access", "tls_sasl_misc", "policy_proxy_limits"]) {
  t.test(file, async (t) => {
    for (const scenario of scenarios(file)) {
      const { name } = scenario;
      if (only !== undefined && !only.includes(name)) continue;
      const config = JSON.stringify(scenario.config);
      const foreign = FOREIGN.test(config) && typeof Bun === "undefined";
      if (foreign) {
        t.pass(name, { skip: "a table type of a C library" });
        continue;
      }
      if (LATER.test(name) || LATER.test(Object.keys(scenario.config).join(" "))) continue;
      const reason = DIFFERENT.get(name);
      if (reason !== undefined) {
        t.pass(name, { skip: reason });
        continue;
      }
      t.same(await replay(scenario), [], name);
    }
  });
}
