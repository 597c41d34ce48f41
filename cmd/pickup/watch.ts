/** With a world-writable maildrop submitters cannot reach our socket: the directory itself tells of new files. */
import { watch } from "node:fs";
import { warning } from "../../lib/log/log.ts";
import { errorText } from "../../lib/sys/errno.ts";
import type { Sweeper } from "./sweeper.ts";
import { MAILDROP } from "./sweeper.ts";

export function watchMaildrop(sweeper: Sweeper): void {
  try {
    // a file is complete when its mode changes, which is reported as a change
    watch(MAILDROP, (event) => {
      if (event === "change") void sweeper.sweep();
    }).on("error", (error) => warning(`watch ${MAILDROP}: ${errorText(error)}`));
  } catch (error) {
    warning(`watch ${MAILDROP}: ${errorText(error)}`);
  }
}
