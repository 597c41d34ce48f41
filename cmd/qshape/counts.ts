/** Numbers of messages by domain and age. */
import { lowerAscii } from "../../lib/sys/bytes.ts";

export interface Buckets {
  readonly count: number;
  /** Minutes of the first one. */
  readonly first: number;
  /** All of the same length; else each is twice as long as the one before. */
  readonly linear: boolean;
}

/** The bucket of an age in seconds. */
export function bucketOf({ count, first, linear }: Buckets, age: number): number {
  const units = age / 60 / first;
  const bucket = units < 1 ? 0 : linear ? Math.floor(units) : 1 + Math.floor(Math.log2(units));
  return Math.min(bucket, count - 1);
}

/** What stands above each bucket: the age that it ends at, in minutes; the last one has no end. */
export function bucketTitles({ count, first, linear }: Buckets): string[] {
  const ends = Array.from({ length: count - 1 }, (_, index) =>
    linear ? first * (index + 1) : first * 2 ** index,
  );
  return [...ends.map(String), `${ends.at(-1) ?? 0}+`];
}

/** Where an address belongs: what is after its last `@`, two dots as one, no dots around it. */
export function domainOf(address: string): string {
  if (address === "") return "MAILER-DAEMON";
  const domain = lowerAscii(address.slice(address.lastIndexOf("@") + 1));
  const single = domain.replaceAll("..", ".");
  let start = 0;
  let end = single.length;
  while (single.charAt(start) === ".") start++;
  while (end > start && single.charAt(end - 1) === ".") end--;
  return single.slice(start, end);
}

export interface Row {
  readonly name: string;
  readonly total: number;
  readonly buckets: ReadonlyArray<number>;
}

class Tally {
  total = 0;
  readonly buckets: number[];
  constructor(count: number) {
    this.buckets = new Array<number>(count).fill(0);
  }
  add(bucket: number, amount: number): void {
    this.total += amount;
    this.buckets[bucket] = (this.buckets[bucket] ?? 0) + amount;
  }
}

export class Counts {
  readonly #buckets: Buckets;
  readonly #domains = new Map<string, Tally>();

  constructor(buckets: Buckets) {
    this.#buckets = buckets;
  }

  add(domain: string, bucket: number): void {
    let tally = this.#domains.get(domain);
    if (tally === undefined) {
      tally = new Tally(this.#buckets.count);
      this.#domains.set(domain, tally);
    }
    tally.add(bucket, 1);
  }

  /** Most mail first; of equal ones the shorter name. */
  rows(minimumSubdomains: number | undefined): Row[] {
    const rows = [...this.#domains].map(([name, { total, buckets }]): Row => ({ name, total, buckets }));
    if (minimumSubdomains !== undefined) rows.push(...this.#parents(minimumSubdomains));
    return rows.sort(
      (a, b) => b.total - a.total || a.name.length - b.name.length || (a.name < b.name ? -1 : 1),
    );
  }

  total(): Row {
    const all = new Tally(this.#buckets.count);
    for (const { buckets } of this.#domains.values())
      for (const [index, count] of buckets.entries()) all.add(index, count);
    return { name: "TOTAL", total: all.total, buckets: all.buckets };
  }

  /** Domains above at least so many that were counted, but for top level domains. */
  #parents(minimum: number): Row[] {
    const parents = new Map<string, { tally: Tally; children: number }>();
    for (const [domain, { buckets }] of this.#domains) {
      const labels = domain.split(".");
      for (let depth = 1; depth <= labels.length - 2; depth++) {
        const name = `.${labels.slice(depth).join(".")}`;
        const parent = parents.get(name) ?? { tally: new Tally(this.#buckets.count), children: 0 };
        parents.set(name, parent);
        parent.children++;
        for (const [index, count] of buckets.entries()) parent.tally.add(index, count);
      }
    }
    return [...parents]
      .filter(([, { children }]) => children >= minimum)
      .map(([name, { tally }]) => ({ name, total: tally.total, buckets: tally.buckets }));
  }
}
