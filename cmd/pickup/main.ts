/** pickup(8): moves local submissions from maildrop to cleanup (queue.md 11). */
import { parameter } from "../../lib/config/configuration.ts";
import { receiveOverrides } from "../../lib/config/receive_overrides.ts";
import { triggerServer } from "../../lib/daemon/trigger.ts";
import { Sweeper } from "./sweeper.ts";
import { watchMaildrop } from "./watch.ts";

const sweeper = new Sweeper();

export const main = triggerServer({
  profile: { files: "write", watches: true },
  processLimit: 1,
  parameters: [
    "content_filter",
    "receive_override_options",
    "smtputf8_autodetect_classes",
    "line_length_limit",
  ],
  // a watcher stays for as long as it may
  maxIdle: () => (parameter("maildrop_world_writable") ? 0 : parameter("max_idle")),
  preJail: () => void receiveOverrides(),
  trigger: () => sweeper.sweep(),
  start: () => {
    if (!parameter("maildrop_world_writable")) return;
    watchMaildrop(sweeper);
    void sweeper.sweep();
  },
  atExit: () => sweeper.settled(),
});
