/** The rows of the parameter table as programs find them, in one sorted text. */
import t from "tap";
import { isParameterName, parameterNames, parameterRow } from "../../../lib/config/parameter_rows.ts";
import { PARAMETERS, type ParameterName } from "../../../lib/config/parameters.ts";

t.test("each declared parameter is found by its name, and nothing else is", async (t) => {
  const names = Object.keys(PARAMETERS) as ParameterName[];
  t.same(parameterNames(), [...names].sort());
  for (const name of names) t.same(parameterRow(name), PARAMETERS[name].slice(0, 6), name);
  for (const name of ["", "mail", "mail_version\tstr", "zzz", "\t", "\n", "__proto__", "2"])
    t.notOk(isParameterName(name), JSON.stringify(name));
});
