/** Runs postfix under Bun as if it had been found through PATH. */
import { main } from "../../../cmd/postfix/main.ts";
import { launch, ownInvocation } from "../../../lib/daemon/program.ts";

await launch((_) => main({ ...ownInvocation(), argv0: "postfix", processName: "postfix" }));
