/** Concurrency feedback against traces of a real queue manager. */
import { readFileSync } from "node:fs";
import t from "tap";
import { feedbackAt, formatG, parseFeedback } from "../../../cmd/qmgr/feedback.ts";
import { Queue } from "../../../cmd/qmgr/queue.ts";
import { selectEntry } from "../../../cmd/qmgr/scheduler.ts";
import { setLogSinks } from "../../../lib/log/log.ts";
import { feed, fixture } from "./fixture.ts";

interface Trace {
  transport_limit: number;
  initial_concurrency: number;
  positive_feedback: string;
  negative_feedback: string;
  failed_cohort_limit: number;
  events: {
    event: "success" | "failure";
    feedback_applied: number | null;
    window: number;
    success: number;
    failure: number;
    fail_cohorts: number;
  }[];
}

for (const name of ["concurrency_feedback.json", "concurrency_feedback_defaults.json"])
  t.test(name, async (t) => {
    const trace = JSON.parse(
      readFileSync(new URL(`../../vectors/qmgr/${name}`, import.meta.url), "utf8"),
    ) as Trace;
    const world = fixture({
      concurrencyLimit: trace.transport_limit,
      initialConcurrency: trace.initial_concurrency,
      positiveFeedback: parseFeedback("positive", trace.positive_feedback),
      negativeFeedback: parseFeedback("negative", trace.negative_feedback),
      failedCohortLimit: trace.failed_cohort_limit,
    });
    const transport = world.manager.transport("smtp");
    for (let i = 0; i < 20; i++) feed(world, `M${i}`, 1, "smtp", () => "d");
    const queue = Queue.findOrCreate(transport, "d", "d");
    for (const [index, step] of trace.events.entries()) {
      // The trace does not say how many deliveries were under way; whether feedback was due tells as much as matters.
      const least = queue.window - trace.initial_concurrency + 1;
      const wanted =
        step.event === "success" && step.feedback_applied === null
          ? Math.max(0, least - 1)
          : Math.max(1, least);
      while (queue.busy.length < wanted && selectEntry(world.manager, transport) !== undefined);
      while (queue.busy.length > wanted && queue.busy.head !== undefined) {
        const link = queue.busy.head;
        queue.busy.remove(link);
      }
      queue.recount();
      if (step.event === "success") queue.unthrottle();
      else queue.throttle({ status: "4.4.1", reason: "connection refused" });
      const message = `event ${index}`;
      const close = (a: number, b: number): void =>
        void t.ok(Math.abs(a - b) < 1e-4, `${message}: ${a} is ${b}`);
      t.equal(queue.window, step.window, `${message} window`);
      close(queue.success, step.success);
      close(queue.failure, step.failure);
      close(queue.failCohorts, step.fail_cohorts);
    }
    t.equal(queue.state.kind, "dead");
    world.time.advance(301);
    t.equal(queue.state.kind, "ready", "alive again after minimal_backoff_time");
    t.equal(queue.window, queue.busy.length || trace.initial_concurrency);
  });

t.test("feedback values", async (t) => {
  const warnings: string[] = [];
  const sinks = setLogSinks([(event) => warnings.push(event.text)]);
  t.teardown(() => void setLogSinks(sinks));
  t.equal(feedbackAt(parseFeedback("p", "1/5"), 7), 0.2);
  t.equal(feedbackAt(parseFeedback("p", " 0.5 / concurrency "), 5), 0.1);
  t.same(warnings, []);
  for (const bad of ["", "2", "-1", "1/0", "x", "1/sqrt_concurrency", "3/2", "1e400", "1/2/3"])
    t.same(parseFeedback("p", bad), { perConcurrency: false, value: 1 }, bad);
  t.equal(warnings[1], "p: ignoring malformed or unreasonable feedback: 2");
  t.equal(warnings.length, 9);
});

t.test("%g", async (t) => {
  for (const [value, text] of [
    [0, "0"],
    [1 / 3, "0.333333"],
    [1.08333333, "1.08333"],
    [100, "100"],
    [1234567, "1.23457e+06"],
    [0.0000123, "1.23e-05"],
    [20, "20"],
  ] as const)
    t.equal(formatG(value), text);
});
