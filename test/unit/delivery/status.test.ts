import t from "tap";
import { formatDelay, formatDelays, NO_STATS } from "../../../lib/delivery/stats.ts";
import { splitDsn, takeDsn } from "../../../lib/delivery/status.ts";
import { deliveryStatus } from "../../../lib/log/events/delivery.ts";

t.test("an interval has at most two significant digits of fraction (logging.md 8.3)", (t) => {
  const cases: ReadonlyArray<readonly [number, string]> = [
    [-5, "0"],
    [0, "0"],
    [0.004, "0"],
    [0.005, "0.01"],
    [0.056, "0.06"],
    [0.1, "0.1"],
    [0.21, "0.21"],
    [0.996, "1"],
    [1, "1"],
    [1.23, "1.2"],
    [9.44, "9.4"],
    [9.96, "10"],
    [12.6, "13"],
    [134.4, "134"],
    [3600.2, "3600"],
  ];
  for (const [seconds, text] of cases) t.equal(formatDelay(seconds * 1e6), text, String(seconds));
  t.equal(formatDelay(12_345, 6), "0.012");
  t.equal(formatDelay(99, 6), "0.000099");
  t.equal(formatDelay(2_400_000, 0), "2");
  t.end();
});

t.test("a missing stamp gives its time to the stage before", (t) => {
  const at = (seconds: number) => ({ seconds, microseconds: 0 });
  const now = at(1100);
  const arrived = { ...NO_STATS, incomingArrival: at(1000) };
  t.same(formatDelays(arrived, 2, now), { delay: "100", delays: "100/0/0/0" });
  const active = { ...arrived, activeArrival: at(1010) };
  t.same(formatDelays(active, 2, now), { delay: "100", delays: "10/90/0/0" });
  const handed = { ...active, agentHandoff: at(1030) };
  t.same(formatDelays(handed, 2, now), { delay: "100", delays: "10/20/0/70" });
  const connected = { ...handed, connectionSetupDone: at(1060) };
  t.same(formatDelays(connected, 2, now), { delay: "100", delays: "10/20/30/40" });
  t.same(formatDelays({ ...connected, deliverDone: at(1061) }, 2, now), {
    delay: "61",
    delays: "10/20/30/1",
  });
  t.end();
});

t.test("enhanced status codes in front of a text", (t) => {
  t.same(takeDsn("5.7.1 no mail here"), { status: "5.7.1", text: "no mail here" });
  t.same(takeDsn("  4.2.1\ttry later"), { status: "4.2.1", text: "try later" });
  t.same(takeDsn("2.0.0"), { status: "2.0.0", text: "" });
  for (const text of ["", "3.0.0 x", "5.1 x", "5.1.1x", "5.1111.1 x", "55.1.1 x", "x 5.1.1"])
    t.equal(takeDsn(text), undefined, text);
  t.same(splitDsn("thrown away", "2.0.0"), { status: "2.0.0", text: "thrown away" });
  t.end();
});

t.test("the delivery line", (t) => {
  const event = deliveryStatus({
    queueId: "934F721C260",
    to: "x@s1.test",
    origTo: "y@s1.test",
    relay: "127.0.0.1[127.0.0.1]:2601",
    connUse: 2,
    delay: "0.09",
    delays: "0/0.01/0.04/0.04",
    tls: "none",
    dsn: "5.1.1",
    status: "bounced",
    reason: "said: no",
  });
  t.equal(
    event.text,
    "934F721C260: to=<x@s1.test>, orig_to=<y@s1.test>, relay=127.0.0.1[127.0.0.1]:2601, conn_use=2, delay=0.09, delays=0/0.01/0.04/0.04, tls=none, dsn=5.1.1, status=bounced (said: no)",
  );
  t.end();
});
