import t from "tap";
import { after, every } from "../../../lib/sys/timers.ts";

const DAY = 86_400;
/** What the runtime takes as it is; above it the delay becomes a millisecond. */
const LONGEST = 2 ** 31 - 1;

interface FakeTimer {
  readonly due: number;
  readonly action: () => void;
  dead: boolean;
}

/** The runtime's timers on a clock of its own. */
function fakeRuntime(teardown: (restore: () => void) => void) {
  const real = { setTimeout: globalThis.setTimeout, clearTimeout: globalThis.clearTimeout };
  let now = 0;
  const timers = new Set<FakeTimer>();
  Object.assign(globalThis, {
    setTimeout(action: () => void, delay: number) {
      const timer = { due: now + (delay > LONGEST ? 1 : delay), action, dead: false, unref: () => undefined };
      timers.add(timer);
      return timer;
    },
    clearTimeout: (timer: FakeTimer) => timers.delete(timer),
  });
  teardown(() => Object.assign(globalThis, real));
  return {
    timers,
    /** Lets seconds pass. */
    pass(seconds: number): void {
      const end = now + seconds * 1000;
      for (;;) {
        const [next] = [...timers].sort((a, b) => a.due - b.due);
        if (next === undefined || next.due > end) break;
        timers.delete(next);
        now = next.due;
        next.action();
      }
      now = end;
    },
  };
}

t.test("JS-14 a timer of any length goes off when it is due, once", async (t) => {
  const runtime = fakeRuntime((restore) => t.teardown(restore));
  const edge = LONGEST / 1000;
  for (const seconds of [0, 1, edge - 1, edge, edge + 0.001, edge + 1, 60 * DAY, 3650 * DAY]) {
    let fired = 0;
    after(seconds, () => fired++);
    if (seconds > 0) {
      runtime.pass(seconds - 0.0005);
      t.equal(fired, 0, `${seconds} s: not before`);
    }
    runtime.pass(0.001);
    t.equal(fired, 1, `${seconds} s: then`);
    runtime.pass(10 * DAY);
    t.equal(fired, 1, `${seconds} s: once`);
  }
  const never = after(60 * DAY, () => t.fail("cancelled in its second part"));
  runtime.pass(40 * DAY);
  never.cancel();
  runtime.pass(60 * DAY);
  t.equal(runtime.timers.size, 0);
});

t.test("JS-14 what happens every 60 days happens every 60 days, until it is cancelled", async (t) => {
  const runtime = fakeRuntime((restore) => t.teardown(restore));
  let fired = 0;
  const timer = every(60 * DAY, () => {
    if (++fired === 4) timer.cancel();
  });
  runtime.pass(179 * DAY);
  t.equal(fired, 2);
  runtime.pass(DAY);
  t.equal(fired, 3);
  runtime.pass(600 * DAY);
  t.equal(fired, 4, "cancelled by itself");
  t.equal(runtime.timers.size, 0);
});
