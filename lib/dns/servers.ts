/** Ordering of servers: MX preferences (RFC 5321 5.1), SRV priorities and weights (RFC 2782). */
import { randomInt } from "../sys/random.ts";
import type { SrvRecord } from "./types.ts";

type Random = (limit: number) => number;

/** A fair shuffle in place (Fisher-Yates). */
export function shuffle<T>(items: T[], random: Random = randomInt): T[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = random(i + 1);
    const a = items[i] as T;
    items[i] = items[j] as T;
    items[j] = a;
  }
  return items;
}

/** A random index that follows the weights; records of weight 0 come last. */
function pickByWeight(records: ReadonlyArray<SrvRecord>, random: Random): number {
  const total = records.reduce((sum, record) => sum + record.weight, 0);
  if (total === 0) return 0;
  let rest = random(total);
  for (const [index, record] of records.entries()) {
    rest -= record.weight;
    if (rest < 0) return index;
  }
  return 0;
}

/** SRV records by priority, and within one priority in a random order that follows the weights. */
export function orderServices(records: ReadonlyArray<SrvRecord>, random: Random = randomInt): SrvRecord[] {
  const ordered: SrvRecord[] = [];
  const priorities = [...new Set(records.map((record) => record.priority))].sort((a, b) => a - b);
  for (const priority of priorities) {
    const left = shuffle(
      records.filter((record) => record.priority === priority),
      random,
    );
    while (left.length > 0) {
      const index = pickByWeight(left, random);
      ordered.push(...left.splice(index, 1));
    }
  }
  return ordered;
}
