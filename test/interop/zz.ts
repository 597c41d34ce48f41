import t from "tap";
import { exercise, mixedInstance } from "./support/mixed.ts";
import { reference } from "./support/reference.ts";
const p = reference() as any;
for (let n=0;n<8;n++) t.test("x"+n, {timeout: 60000}, async (t) => { const [base, ...sw] = (process.env.MIX ?? "real").split(" "); const i = await mixedInstance(t, p, { base: base as any, swapped: sw }); try { await exercise(t, i); } catch (e) { console.log(i.maillog().split("\n").slice(-40).join("\n")); throw e; } if (process.env.SHOW) console.log(i.maillog()); });
