/** Runs postconf under Bun as if it had been found through PATH. */
import { main } from "../../../cmd/postconf/main.ts";
import { ownInvocation } from "../../../lib/daemon/program.ts";

await main({ ...ownInvocation(), argv0: "postconf", processName: "postconf" });
