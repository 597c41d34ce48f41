import t from "tap";
import { Counters } from "../../../cmd/anvil/counters.ts";
import { statistics } from "../../../cmd/anvil/statistics.ts";

t.test("counts and windows", async (t) => {
  let now = 1_700_000_000_000;
  const counters = new Counters(60_000, () => now);
  const client = counters.entry("smtp:10.0.0.1");
  counters.connect(client);
  t.equal(counters.event(client, "connection"), 1);
  t.equal(counters.event(client, "message"), 1);
  now += 60_000;
  t.equal(counters.event(client, "message"), 2, "within the window");
  now += 1;
  t.equal(counters.event(client, "message"), 1, "a new window");
  t.equal(client.rates.connection, 0, "which all rates share");
  now += 70_000;
  counters.refresh(client);
  t.equal(client.rates.message, 0);
  counters.sweep();
  t.equal(counters.size, 1, "connected clients stay");
  counters.disconnect(client);
  counters.sweep();
  t.equal(counters.size, 1);
  now += 60_000;
  counters.sweep();
  t.equal(counters.size, 0);
});

t.test("statistics", async (t) => {
  const counters = new Counters(
    60_000,
    () => 5000,
    () => 1_700_000_000_000,
  );
  const client = counters.entry("smtp:10.0.0.1");
  counters.connect(client);
  counters.event(client, "connection");
  counters.event(client, "recipient");
  const lines = statistics(counters, 60).map((line) => line.replace(/ at .*/, ""));
  t.same(lines, [
    "statistics: max connection rate 1/60s for (smtp:10.0.0.1)",
    "statistics: max connection count 1 for (smtp:10.0.0.1)",
    "statistics: max recipient rate 1/60s for (smtp:10.0.0.1)",
    "statistics: max cache size 1",
  ]);
  t.same(statistics(counters, 60), [], "peaks begin anew");
});

t.test(
  "JS-35 windows are measured on a clock that nobody sets, peaks are told by the wall clock",
  async (t) => {
    let now = 5000;
    let wall = Date.UTC(2026, 0, 2, 3, 4, 5);
    const counters = new Counters(
      60_000,
      () => now,
      () => wall,
    );
    const client = counters.entry("smtp:10.0.0.1");
    t.equal(counters.event(client, "message"), 1);
    wall -= 3_600_000;
    now += 60_000;
    t.equal(counters.event(client, "message"), 2);
    wall += 7_200_000;
    t.equal(counters.event(client, "message"), 3, "no window ends because the clock was set");
    now += 1;
    t.equal(counters.event(client, "message"), 1, "nor lasts longer");
    t.equal(counters.takePeaks().rates.message.at, wall);
  },
);

t.test("a flood of clients pushes the oldest out that have gone", async (t) => {
  const counters = new Counters(60_000, () => 5000, Date.now, 1000);
  const here = counters.entry("here");
  counters.connect(here);
  for (let index = 0; index < 5000; index++) counters.entry(`gone ${index}`);
  t.equal(counters.size, 1000);
  t.equal(counters.find("here"), here, "who is connected stays");
  t.equal(counters.find("gone 0"), undefined);
  t.ok(counters.find("gone 4999"));
  const long = counters.entry("x".repeat(100_000));
  t.equal(long.ident.length, 512);
  t.equal(counters.find("x".repeat(100_000)), long);
});
