/** Time limits of many waits, watched with one timer: a wait that ends in time, as nearly all do, has cost no timer of its own. */

export interface TimedWait {
  /** performance.now() at which it has failed. */
  readonly expires: number;
  expire(): void;
}

const TIMER_LIMIT = 2 ** 31 - 1;

const waits = new Set<TimedWait>();
let timer: ReturnType<typeof setTimeout> | undefined;
/** When the timer goes off: never later than the earliest wait expires, often earlier. */
let due = Number.POSITIVE_INFINITY;

export function watch(wait: TimedWait): void {
  // as long as somebody waits the process has something to do
  if (waits.size === 0) timer?.ref();
  waits.add(wait);
  if (wait.expires < due) arm(wait.expires);
}

export function unwatch(wait: TimedWait): void {
  if (waits.delete(wait) && waits.size === 0) timer?.unref();
}

function arm(at: number): void {
  clearTimeout(timer);
  due = at;
  timer = setTimeout(sweep, Math.min(Math.max(0, Math.ceil(at - performance.now())), TIMER_LIMIT));
}

function sweep(): void {
  timer = undefined;
  due = Number.POSITIVE_INFINITY;
  const now = performance.now();
  let next = Number.POSITIVE_INFINITY;
  for (const wait of [...waits])
    if (wait.expires <= now) {
      waits.delete(wait);
      wait.expire();
    } else next = Math.min(next, wait.expires);
  if (next < due) arm(next);
}
