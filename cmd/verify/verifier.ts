/** What is known about addresses, and finding it out (delivery.md 18). */
import { parameter } from "../../lib/config/configuration.ts";
import { RECIPIENT_STATUS, VERIFY_STATUS } from "../../lib/ipc/protocols/verify.ts";
import { warning } from "../../lib/log/log.ts";
import { printable } from "../../lib/sys/bytes.ts";
import type { CacheDatabase } from "../../lib/tables/cache.ts";
import { type Entry, formatEntry, isExpired, NO_ENTRY, needsProbe, parseEntry } from "./entry.ts";

export interface Answer {
  readonly status: number;
  readonly recipientStatus: number;
  readonly reason: string;
}

export interface VerifierOptions {
  readonly cache: Pick<CacheDatabase, "lookup" | "update" | "remove">;
  readonly probe: (address: string) => Promise<void>;
  /** Seconds since the epoch. */
  readonly now: () => number;
}

/** A colon would end a field of the entries. */
const keyOf = (address: string): string => address.replaceAll(":", "_");

export class Verifier {
  /** Changes of the cache are made one after the other: two queries for one address are one probe. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(private readonly options: VerifierOptions) {}

  /** Answers at once; a probe that is due is sent behind. */
  query(address: string): Promise<Answer> {
    return this.#exclusively(() => this.#query(address));
  }

  /** Takes the result of a probe; gives a `VERIFY_STATUS`. */
  update(address: string, recipientStatus: number, reason: string): Promise<number> {
    return this.#exclusively(() => this.#update(address, recipientStatus, reason));
  }

  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => undefined);
    return result;
  }

  async #query(address: string): Promise<Answer> {
    const { cache } = this.options;
    const now = this.options.now();
    const key = keyOf(address);
    const found = await cache.lookup(key);
    if (found.kind === "error")
      return {
        status: VERIFY_STATUS.ok,
        recipientStatus: RECIPIENT_STATUS.defer,
        reason: "Address verification status unavailable",
      };
    const negative = parameter("address_verify_negative_cache");
    let entry = found.kind === "found" ? this.#parse(found.value) : undefined;
    if (entry === undefined || isExpired(entry, now)) {
      entry = NO_ENTRY;
      if (!negative && found.kind === "found") await cache.remove(key);
    }
    if (needsProbe(entry, now)) {
      // without negative caching an entry that holds no result would never go away
      if (entry.updated !== 0 || negative) await cache.update(key, formatEntry({ ...entry, probed: now }));
      void this.options.probe(address);
    }
    return { status: VERIFY_STATUS.ok, recipientStatus: entry.status, reason: entry.text };
  }

  #parse(value: string): Entry | undefined {
    const entry = parseEntry(value);
    if (entry === undefined) warning(`bad address verify table entry: ${value.slice(0, 100)}`);
    return entry;
  }

  async #update(address: string, recipientStatus: number, reason: string): Promise<number> {
    if (recipientStatus < RECIPIENT_STATUS.ok || recipientStatus > RECIPIENT_STATUS.bounce) {
      warning(`bad recipient status ${recipientStatus} for recipient ${printable(address)}`);
      return VERIFY_STATUS.bad;
    }
    const { cache } = this.options;
    const key = keyOf(address);
    // a result that is not good leaves a good one to its expiry
    if (recipientStatus !== RECIPIENT_STATUS.ok) {
      const found = await cache.lookup(key);
      const known = found.kind === "found" ? this.#parse(found.value) : undefined;
      if (known?.status === RECIPIENT_STATUS.ok) return VERIFY_STATUS.ok;
    }
    const text = printable(reason, parameter("smtputf8_enable"));
    const entry: Entry = { status: recipientStatus, probed: 0, updated: this.options.now(), text };
    await cache.update(key, formatEntry(entry));
    return VERIFY_STATUS.ok;
  }
}
