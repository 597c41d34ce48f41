/** What was done, counted. */
import { info, warning } from "../../lib/log/log.ts";

export type Action = "requeue" | "delete" | "expire" | "hold" | "release";

/** In the order of the report. */
const TITLES: ReadonlyArray<readonly [Action, string]> = [
  ["requeue", "Requeued"],
  ["delete", "Deleted"],
  ["expire", "Force-expired"],
  ["hold", "Placed on hold"],
  ["release", "Released from hold"],
];

const messages = (count: number): string => `${count} message${count === 1 ? "" : "s"}`;

export class Report {
  readonly #counts = new Map<Action, number>();
  /** Messages whose name was made to match the inode. */
  renamed = 0;
  /** Such renaming has begun. */
  renaming = false;

  /** An action that was asked for is reported even when it found nothing. */
  requested(action: Action): void {
    if (!this.#counts.has(action)) this.#counts.set(action, 0);
  }

  count(action: Action): void {
    this.#counts.set(action, (this.#counts.get(action) ?? 0) + 1);
  }

  print(): void {
    for (const [action, title] of TITLES) {
      const count = this.#counts.get(action);
      if (count !== undefined) info(`${title}: ${messages(count)}`);
    }
    if (this.renamed === 0) return;
    info(`Renamed to match inode number: ${messages(this.renamed)}`);
    warning("QUEUE FILE NAMES WERE CHANGED TO MATCH INODE NUMBERS");
  }
}
