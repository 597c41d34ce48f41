/** The records of a Berkeley DB file that this process alone may use: changed in memory, written out a little later and at the end. */

import { check } from "../../log/log.ts";
import { fdatasyncSync } from "../../sys/fs.ts";
import type { BdbKind } from "../formats/bdb_pages.ts";
import { buildPages, inKeyOrder, rewrite } from "./bdb_file.ts";

/** Changes within this time share one write: the whole file is written anew. */
const DELAY_MS = 200;

export class OwnedRecords {
  private dirty = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly atExit = (): void => this.flush();

  constructor(
    readonly records: Map<string, Buffer>,
    private readonly kind: BdbKind,
    private readonly fd: number,
    private readonly path: string,
  ) {
    process.on("exit", this.atExit);
  }

  /** The records have changed. */
  touch(): void {
    this.dirty = true;
    if (this.timer !== undefined) return;
    this.timer = setTimeout(this.atExit, DELAY_MS);
    this.timer.unref();
  }

  flush(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (!this.dirty) return;
    this.dirty = false;
    check(`error writing ${this.path}`, () => {
      rewrite(this.fd, buildPages(this.kind, inKeyOrder(this.records)));
      fdatasyncSync(this.fd);
    });
  }

  close(): void {
    this.flush();
    process.off("exit", this.atExit);
  }
}
