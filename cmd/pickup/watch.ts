/** With a world-writable maildrop submitters cannot reach our socket: the directory itself tells of new files. */

import { warning } from "../../lib/log/log.ts";
import { errorText } from "../../lib/sys/errno.ts";
import { watch } from "../../lib/sys/fs.ts";
import type { Sweeper } from "./sweeper.ts";
import { MAILDROP } from "./sweeper.ts";

/** The runtime merges events of one file that follow each other closely: the change of mode that completes a file may be among them. */
const SETTLE_MILLISECONDS = 100;

export function watchMaildrop(sweeper: Sweeper): void {
  let settle: ReturnType<typeof setTimeout> | undefined;
  const sweep = (): void => {
    void sweeper.sweep();
  };
  try {
    watch(MAILDROP, (event) => {
      if (event !== "change") return;
      sweep();
      clearTimeout(settle);
      settle = setTimeout(sweep, SETTLE_MILLISECONDS);
    }).on("error", (error) => warning(`watch ${MAILDROP}: ${errorText(error)}`));
  } catch (error) {
    warning(`watch ${MAILDROP}: ${errorText(error)}`);
  }
}
