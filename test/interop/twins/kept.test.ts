/** What becomes of mail when a connection that was kept fails, beside the real Postfix. */
import type { Test } from "tap";
import { logged } from "../../system/support/harness.ts";
import type { Script } from "../../unit/smtp-client/harness.ts";
import { ownNetwork } from "../support/network.ts";
import { reference } from "../support/reference.ts";
import { type Mail, Twins } from "../support/twins.ts";

const network = await ownNetwork(import.meta.filename);
const { default: t } = await import("tap");
const programs = reference();
const options = {
  ...network,
  ...("missing" in programs ? { skip: programs.missing } : {}),
  timeout: 200_000,
};
t.setTimeout(240_000);

/** What a server says to the second message, which comes from bad@ over the connection that the first left. */
const KINDS: ReadonlyArray<{
  readonly name: string;
  readonly replies: NonNullable<Script["replies"]>;
  readonly to?: ReadonlyArray<string>;
}> = [
  { name: "mail451", replies: [["MAIL FROM:<bad", "451 4.7.1 not now"]] },
  { name: "mail421", replies: [["MAIL FROM:<bad", "421 4.7.1 closing"]] },
  { name: "mail550", replies: [["MAIL FROM:<bad", "550 5.7.1 never"]] },
  { name: "mail-drop", replies: [["MAIL FROM:<bad", "DROP"]] },
  { name: "rcpt450", replies: [["RCPT TO:<b", "450 4.2.1 no b"]], to: ["a", "b"] },
  { name: "rcpt-drop", replies: [["RCPT TO:<b", "DROP"]], to: ["a", "b"] },
  { name: "rset-refused", replies: [["RSET", "500 what"]] },
  { name: "rset-drop", replies: [["RSET", "DROP"]] },
  { name: "rset421", replies: [["RSET", "421 4.3.2 closing"]] },
];

/** Where else the message could go; NET.0.10 takes everything. */
const WAYS = [
  { way: "alone" },
  { way: "servers", zone: "% MX 20 b.%\nb.% A NET.0.10" },
  { way: "fallback", fallback: true, only: "piped" },
  { way: "list", next: ", [NET.0.10]", only: "unpiped" },
] as const;
type Way = (typeof WAYS)[number]["way"];

interface Case {
  readonly name: string;
  readonly kind: (typeof KINDS)[number];
  readonly way: Way;
  readonly piped: boolean;
  readonly address: string;
  readonly zone: string;
  readonly nexthop: string;
  readonly service: string;
}

const CASES = KINDS.flatMap((kind) => [true, false].map((piped) => ({ kind, piped }))).flatMap(
  ({ kind, piped }, index) =>
    WAYS.filter((each) => !("only" in each) || (each.only === "piped") === piped).map((each): Case => {
      const { way, ...rest } = each;
      const name = `${kind.name}${piped ? "-piped" : ""}-${way}`;
      const address = `NET.${WAYS.indexOf(each) + 1}.${index + 1}`;
      const zone = `% MX 10 a.%\na.% A ${address}\n${"zone" in rest ? rest.zone : ""}`;
      return {
        name,
        kind,
        way,
        piped,
        address,
        zone: zone.replaceAll("%", `${name}.test`),
        nexthop: `${name}.test${"next" in rest ? rest.next : ""}`,
        service: "fallback" in rest ? "kept-fallback" : "kept",
      };
    }),
);

const mailOf = ({ name, kind }: Case, from: "good" | "bad"): Mail => ({
  name: `${name} ${from}`,
  from: `${from}@localhost`,
  to: (from === "good" ? ["a"] : (kind.to ?? ["a"])).map((local) => `${local}@${name}.test`),
});

t.test("a kept connection fails", options, async (t: Test) => {
  if ("missing" in programs) return;
  const script = ({ kind, piped }: Case): Script => ({
    replies: kind.replies,
    ehlo: ["fake.example", ...(piped ? ["PIPELINING"] : [])],
  });
  const twins = await Twins.start(t, programs, {
    servers: {
      other: {},
      port25: { replies: [["MAIL FROM:<bad", "451 4.7.1 not now"]] },
      port2525: {},
      ...Object.fromEntries(CASES.map((each) => [each.name, script(each)])),
    },
    addresses: {
      other: "NET.0.10",
      port25: "NET.0.11",
      port2525: "NET.0.11 2525",
      ...Object.fromEntries(CASES.map(({ name, address }) => [name, address])),
    },
    zones: { records: CASES.map(({ zone }) => zone).join("\n"), broken: [] },
    mainCf: () =>
      [
        "inet_interfaces = NET.0.1",
        "local_recipient_maps =",
        "relay_domains = static:all",
        "default_destination_concurrency_failed_cohort_limit = 0",
        "smtp_connection_cache_destinations = static:all",
        "smtp_connection_cache_time_limit = 100s",
        "connection_cache_ttl_limit = 100s",
        "transport_maps = inline:{{port.test = kept:[NET.0.11] [NET.0.11]:2525}}",
        ...CASES.map(({ name, service, nexthop }) => `  inline:{{${name}.test = ${service}:${nexthop}}}`),
      ].join("\n"),
    masterCf: () =>
      "kept unix - - n - 1 smtp\nkept-fallback unix - - n - 1 smtp\n  -o smtp_fallback_relay=[NET.0.10]\n",
  });
  const messages = (cases: ReadonlyArray<Case>, from: "good" | "bad"): Mail[] =>
    cases.map((each) => mailOf(each, from));
  await twins.compare(t, "messages that leave connections behind", messages(CASES, "good"), "until over");
  await twins.compare(t, "messages that meet failures", messages(CASES, "bad"), "until over");

  const mail = (from: string): Mail => ({ name: from, from: `${from}@localhost`, to: ["a@port.test"] });
  await twins.send(mail("good"));
  const [ours, real] = twins.both;
  for (const instance of twins.both)
    await logged(instance, /to=<a@port\.test>, relay=\S+:25, .* status=sent/);
  await twins.send(mail("bad"));
  await logged(real, /to=<a@port\.test>, relay=none, .*dsn=4\.3\.0, status=deferred \(server unavailable/);
  t.pass("Postfix passes over another port of the server whose connection failed");
  await logged(ours, /to=<a@port\.test>, relay=127\.1\.0\.11\[127\.1\.0\.11\]:2525, .*status=sent/);
  t.pass("ours tries it");
});
