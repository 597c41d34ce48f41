/** Ends the process between two requests when a table was changed: its clients connect to a new one. */
import { info } from "../../lib/log/log.ts";
import { changedTable } from "../../lib/tables/open.ts";

const INTERVAL = 10_000;

export class TableWatch {
  #active = 0;
  #stale = false;

  start(): void {
    setInterval(() => this.#look(), INTERVAL).unref();
  }

  /** Runs one request; the process does not end meanwhile. */
  async during<T>(request: () => Promise<T>): Promise<T> {
    this.#active++;
    try {
      return await request();
    } finally {
      // the reply is still on its way to the socket
      setImmediate(() => {
        this.#active--;
        this.#endWhenIdle();
      });
    }
  }

  #look(): void {
    const table = this.#stale ? undefined : changedTable();
    if (table === undefined) return;
    info(`table ${table} has changed -- restarting`);
    this.#stale = true;
    this.#endWhenIdle();
  }

  #endWhenIdle(): void {
    if (this.#stale && this.#active === 0) process.exit(0);
  }
}
