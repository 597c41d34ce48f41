/** Runs a program from its source under Bun, for tests on Node: TEST_PROGRAM names it. */
import { launch } from "../../../../lib/daemon/program.ts";

const { main } = await import(`../../../../cmd/${process.env.TEST_PROGRAM ?? ""}/main.ts`);
await launch(main);
