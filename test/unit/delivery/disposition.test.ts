/** Where outcomes go and how they are logged (delivery.md 2.1, ipc.md 5.4.1), by the two simplest agents. */
import { writeFileSync } from "node:fs";
import t from "tap";
import { Instance } from "./support/instance.ts";

t.setTimeout(120_000);

const RECIPIENT = "x@err.example";

t.test("dispositions", async (t) => {
  t.setTimeout(100_000);
  const instance = new Instance();
  t.teardown(() => instance.close());
  await instance.fakeBounce();
  const base = "compatibility_level = 3.11\nmyhostname = mail.example.com\nmyorigin = example.com\n";

  /** Final status, log lines, and what was appended where. */
  const outcome = async (
    agent: string,
    nexthop: string,
    flags: number,
    settings = "",
    options: ReadonlyArray<string> = [],
  ) => {
    instance.configure(`${base}${settings}\n`);
    const message = instance.store("M1D", "a@b.example", [RECIPIENT], ["Subject: x", "", "y"]);
    const before = instance.appended.length;
    const { log, reply } = await instance.deliver(
      agent,
      message,
      "a@b.example",
      [RECIPIENT],
      flags,
      options,
      nexthop,
    );
    const appended = instance.appended
      .slice(before)
      .map(
        ({ service, value }) => `${service} ${value.flags} ${value.status} ${value.action} ${value.reason}`,
      );
    return { status: reply?.status, log: log.map((line) => line.replace(/.*D, dsn=/, "")), appended };
  };

  t.same(await outcome("error", "5.7.1 no mail here", 3), {
    status: 0,
    log: ["5.7.1, status=bounced (no mail here)"],
    appended: ["bounce 0 5.7.1 failed no mail here"],
  });
  t.same(
    await outcome("error", "4.7.1 not now", 3),
    {
      status: 0,
      log: ['warning: bounce_append: ignoring dsn code "4.7.1"', "5.0.0, status=bounced (not now)"],
      appended: ["bounce 0 5.0.0 failed not now"],
    },
    "a code of the wrong class",
  );
  t.same(
    await outcome("error", "5.7.1 no mail here", 3, "soft_bounce = yes"),
    {
      status: -1,
      log: ["4.7.1, status=SOFTBOUNCE (no mail here)"],
      appended: ["defer 0 4.7.1 delayed no mail here"],
    },
    "soft_bounce",
  );
  t.same(
    await outcome("error", "come back", 3, "", ["-n", "retry"]),
    {
      status: -1,
      log: ["4.0.0, status=deferred (come back)"],
      appended: ["defer 0 4.0.0 delayed come back"],
    },
    "retry",
  );
  t.same(
    await outcome("error", "5.7.1 no mail here", 3 + 1024),
    {
      status: 0,
      log: ["5.7.1, status=bounced (no mail here)"],
      appended: ["bounce 1024 5.7.1 failed no mail here", "trace 1024 5.7.1 failed no mail here"],
    },
    "sendmail -v: recorded as well; the low bits of the request stay here",
  );
  t.same(
    await outcome("error", "5.7.1 no mail here", 3 + 512),
    {
      status: 0,
      log: ["5.7.1, status=undeliverable (no mail here)"],
      appended: ["trace 512 5.7.1 undeliverable no mail here"],
    },
    "sendmail -bv: to trace alone",
  );
  t.same(await outcome("discard", "thrown away", 3), {
    status: 0,
    log: ["2.0.0, status=sent (thrown away)"],
    appended: [],
  });
  t.same(
    await outcome("discard", "2.3.4 thrown away", 3 + 1024),
    {
      status: 0,
      log: ["2.3.4, status=sent (thrown away)"],
      appended: ["trace 1024 2.3.4 delivered thrown away"],
    },
    "success, recorded",
  );
  const filter = (result: string): string => {
    writeFileSync(instance.path("filter"), `/^5.1.1 unknown user/ ${result}\n/no mail here/ 4.3.2 later\n`);
    return `virtual_mailbox_base = /\nvirtual_mailbox_maps = inline:{ { a@b = c } }\ndefault_delivery_status_filter = regexp:${instance.path("filter")}`;
  };
  t.same(
    await outcome("virtual", "", 3, filter("4.3.2 later")),
    {
      status: -1,
      log: ["4.3.2, status=deferred (later)"],
      appended: ["defer 0 4.3.2 delayed later"],
    },
    "a status filter turns a bounce into a deferral",
  );
  t.same(
    await outcome("virtual", "", 3, filter("2.0.0 fine")),
    {
      status: 0,
      log: [
        "warning: virtual_delivery_status_filter: bad status code: 2.0.0 fine",
        '5.1.1, status=bounced (unknown user: "x@err.example")',
      ],
      appended: ['bounce 0 5.1.1 failed unknown user: "x@err.example"'],
    },
    "but not into a success",
  );
  t.same(
    await outcome("error", "5.7.1 no mail here", 3, filter("2.0.0 fine")),
    {
      status: 0,
      log: ["5.7.1, status=bounced (no mail here)"],
      appended: ["bounce 0 5.7.1 failed no mail here"],
    },
    "error(8) and discard(8) have no filter",
  );
});

t.test("requests that cannot be served", async (t) => {
  const instance = new Instance();
  t.teardown(() => instance.close());
  await instance.fakeBounce();
  instance.configure("compatibility_level = 3.11\nmyhostname = mail.example.com\n");
  const message = instance.store("M1D", "a@b.example", [RECIPIENT], ["x"]);
  const ask = async (queueId: string, recipients: string[] = [RECIPIENT]) => {
    const { log, reply } = await instance.deliver(
      "discard",
      { ...message, queueId },
      "a@b.example",
      recipients,
    );
    return [reply?.status, ...log];
  };
  t.same(await ask("N0SUCHFILE"), [-1]);
  t.same(await ask("../M1D"), [-1]);
  t.same(await ask("M1D", []), [
    -1,
    "warning: M1D: no recipients in delivery request for destination example.com",
  ]);
  const garbage = await instance.run("discard", [], Buffer.from("flags\0x\0\0"));
  t.same(garbage.log, [
    "warning: malformed numerical data from standard input while reading input attribute value: x",
    "warning: deliver_request_get: error receiving common attributes",
  ]);
});
