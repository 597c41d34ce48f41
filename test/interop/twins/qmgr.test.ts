/** How the queue manager hands mail out, holds it, gives up and tries again is what the real one does. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Instance } from "../../../packaging/instance.ts";
import { queueFiles } from "../../system/support/harness.ts";
import type { Script } from "../../unit/smtp-client/harness.ts";
import { command } from "../support/mixed.ts";
import { reference } from "../support/reference.ts";
import { converse, type Mail, Twins } from "../support/twins.ts";

const programs = reference();
const options = { ...("missing" in programs ? { skip: programs.missing } : {}), timeout: 200_000 };
t.setTimeout(240_000);

const SERVERS: Readonly<Record<string, Script>> = {
  plain: { ehlo: ["fake.example", "PIPELINING", "8BITMIME"] },
  filtered: {},
  other: {},
  two: {},
  one: {},
  cached: {},
  fussy: {
    replies: [
      ["RCPT TO:<u1", "450 4.2.1 later"],
      ["RCPT TO:<u3", "DROP"],
    ],
  },
  lmtp: {
    ehlo: ["fake.example"],
    replies: [
      ["RCPT TO:<u1", "450 4.2.1 later"],
      ["RCPT TO:<u3", "DROP"],
    ],
  },
  limited: { ehlo: ["fake.example", "PIPELINING"] },
  slow: {},
  paced: {},
  later: { replies: [["RCPT", "450 4.2.1 later"]] },
  again: { replies: [["RCPT", "450 4.2.1 later"]] },
  warned: { replies: [["RCPT", "450 4.2.1 later"]] },
  busy: { greet: "421 4.3.2 busy" },
  "hang-up": { replies: [["MAIL", "DROP"]] },
};
const SETTINGS: Readonly<Record<string, string>> = {
  fussy: "smtp_connection_cache_destinations=static:all",
  lmtp: "lmtp_connection_cache_destinations=static:all",
  cached: "smtp_connection_cache_destinations=cached.test,127.0.0.1,[127.0.0.1]",
  limited: "{ smtp_connection_cache_destinations = static:all }\n  -o smtp_connection_reuse_count_limit=1",
};

const mails = (server: string, count: number, more: Partial<Mail> = {}): Mail[] =>
  Array.from({ length: count }, (_, index) => ({
    name: `${server} ${index}`,
    from: "nobody@localhost",
    to: [`u${index}@${server}.test`],
    ...more,
  }));
const ran = (name: string, result: ReturnType<typeof command>): string[] => [
  `${name}: status ${result.status}`,
  `${name}: ${result.stdout}`,
  `${name}: ${result.stderr}`,
];
const run =
  (name: string, ...args: string[]) =>
  async (instance: Instance): Promise<string[]> =>
    ran([name, ...args].join(" "), command(instance, name, args));
const deferredId = (instance: Instance, to: string): string =>
  new RegExp(`: ([0-9A-F]+): to=<${to}>`).exec(instance.maillog())?.[1] ?? "no such message";
const counts = async (instance: Instance): Promise<string[]> =>
  ["deferred", "hold", "incoming", "active", "corrupt"].map(
    (queue) => `${queue}: ${queueFiles(instance, queue).length}`,
  );

t.test("what the queue manager does with mail", options, async (t: Test) => {
  if ("missing" in programs) return;
  const twins = await Twins.start(t, programs, {
    servers: SERVERS,
    unix: ["lmtp"],
    // tried again whenever the queue is scanned for something else
    ignore: /connect to transport private\/nosuch/,
    prepare: (directory) =>
      writeFileSync(
        join(directory, "config/checks"),
        [
          "/^X-Do: hold/ HOLD for a look",
          "/^X-Do: filter/ FILTER filtered:[127.0.0.1]:25",
          "/^X-Do: bad-filter/ FILTER nosuch:somewhere",
          "/^X-Do: redirect/ REDIRECT games@localhost",
          "",
        ].join("\n"),
      ),
    mainCf: (directory, place) =>
      [
        "local_recipient_maps =",
        "smtp_dns_support_level = disabled",
        "relay_domains = static:all",
        "fast_flush_domains = later.test, again.test",
        "smtpd_etrn_restrictions = permit_mynetworks, reject",
        "smtpd_authorized_verp_clients = 127.0.0.1",
        `header_checks = regexp:${directory}/config/checks`,
        "defer_transports = deferring",
        "lmtp_dns_support_level = disabled",
        ...["fussy", "lmtp"].flatMap((name) => [
          `${name}_destination_concurrency_limit = 1`,
          `${name}_initial_destination_concurrency = 1`,
          `${name}_destination_concurrency_failed_cohort_limit = 0`,
        ]),
        // one delivery a process, as the real system has it
        "service_client_limit = 1",
        "two_destination_recipient_limit = 2",
        "one_destination_recipient_limit = 1",
        "one_destination_concurrency_limit = 2",
        "cached_destination_concurrency_limit = 1",
        "limited_destination_concurrency_limit = 1",
        "limited_initial_destination_concurrency = 1",
        "cached_initial_destination_concurrency = 1",
        "slow_destination_rate_delay = 1s",
        "paced_transport_rate_delay = 1s",
        "busy_destination_concurrency_failed_cohort_limit = 1",
        "bounce_queue_lifetime = 0",
        "transport_maps =",
        ...Object.keys(SERVERS).map(
          (name) =>
            `  inline:{{${name}.test = ${name}:${name === "lmtp" ? "unix:" : "[127.0.0.1]:"}${place(name)}}}`,
        ),
        "  inline:{{deferring.test = deferring:} {nosuch.test = nosuch:}}",
      ].join("\n"),
    masterCf: () =>
      [
        ...Object.keys(SERVERS).map(
          (name) =>
            `${name} unix - - n - 1 ${name === "lmtp" ? "lmtp" : "smtp"}${SETTINGS[name] === undefined ? "" : `\n  -o ${SETTINGS[name]}`}`,
        ),
        "deferring unix - - n - - smtp",
        "",
      ].join("\n"),
  });

  await twins.compare(t, "recipients in portions", [
    {
      name: "two",
      to: ["a", "b", "c", "d", "e"].map((local) => `${local}@two.test`),
      from: "nobody@localhost",
    },
    { name: "one", to: ["a", "b", "c"].map((local) => `${local}@one.test`), from: "nobody@localhost" },
    {
      name: "verp",
      to: ["a@plain.test", "b+c@plain.test", "x@nosuch.test"],
      from: "games@localhost",
      parameters: "XVERP",
    },
    { name: "verp delimiters", to: ["a@plain.test"], from: "games@localhost", parameters: "XVERP=-=" },
    { name: "same twice", to: ["a@plain.test", "a@plain.test", "A@plain.test"], from: "nobody@localhost" },
  ]);
  await twins.compare(t, "what header checks ask for", [
    ...["hold", "filter", "bad-filter", "redirect"].map(
      (what): Mail => ({
        name: what,
        from: "nobody@localhost",
        to: ["a@filtered.test", "b@other.test"],
        text: `X-Do: ${what}\nSubject: NAME\n\nbody\n`,
      }),
    ),
  ]);
  await twins.compareAfter(t, "the hold queue", [
    counts,
    run("postsuper", "-H", "ALL"),
    run("postqueue", "-f"),
  ]);
  await twins.compare(t, "transports that cannot be had", [
    ...mails("deferring", 2),
    ...mails("nosuch", 2),
    ...mails("nosuch", 1, { from: "" }),
    ...mails("later", 1, { from: "" }),
  ]);
  await twins.compare(
    t,
    "connections kept for what comes next",
    [...mails("cached", 3), ...mails("limited", 4), ...mails("fussy", 5), ...mails("lmtp", 5)],
    "until taken",
  );
  await twins.compareAfter(t, "a queue made empty", [run("postsuper", "-d", "ALL")]);
  await twins.compare(t, "rates", [...mails("slow", 3), ...mails("paced", 3)]);
  await twins.compare(t, "dead destinations", [...mails("busy", 1), ...mails("hang-up", 1)]);
  await twins.compare(t, "destinations known as dead", [...mails("busy", 2), ...mails("hang-up", 2)]);
  await twins.compareAfter(t, "a queue emptied again", [run("postsuper", "-d", "ALL")]);
  await twins.compare(t, "deferred", [...mails("later", 1), ...mails("again", 1), ...mails("warned", 1)]);
  await twins.compareAfter(t, "ETRN and postqueue -s", [
    async (instance) =>
      converse(instance.smtpPort, [
        "EHLO client.test",
        "ETRN later.test",
        "ETRN elsewhere.test",
        "ETRN bad..name",
        "ETRN",
        "ETRN #later",
        "ETRN @later.test",
        "QUIT",
      ]),
    run("postqueue", "-s", "again.test"),
    run("postqueue", "-s", "nowhere.test"),
    run("postqueue", "-s", "[127.0.0.1]"),
    run("sendmail", "-qRagain.test"),
  ]);
  await twins.compareAfter(t, "postqueue -i", [
    async (instance) =>
      ran("-i", command(instance, "postqueue", ["-i", deferredId(instance, "u0@again.test")])),
    run("postqueue", "-i", "ABCDEF012345"),
    run("postqueue", "-i", "../x"),
  ]);
  await twins.compareAfter(t, "postqueue -f", [run("postqueue", "-f")]);
  await twins.compareAfter(t, "what is left", [
    counts,
    async (instance) =>
      command(instance, "postqueue", ["-j"])
        .stdout.replace(/"(queue_id|arrival_time|message_size)": ("[^"]*"|\d+)/g, '"$1": X')
        .split("\n"),
  ]);
});
