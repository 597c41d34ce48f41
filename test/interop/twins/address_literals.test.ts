/** Addresses in numbers, valid and not: what smtpd(8), trivial-rewrite(8) and smtp(8) take and what they say of the others is the same. */
import t from "tap";
import { reference } from "../support/reference.ts";
import { converse, Twins } from "../support/twins.ts";

const programs = reference();
const options = "missing" in programs ? { skip: programs.missing } : {};
t.setTimeout(120_000);

const ADDRESSES =
  `1.2.3.300 1.2.3 1.2.3.4.5 1.2.3.4 1.2.3.04 0.0.0.0 0.1.2.3 1..2.3 .1.2.3 1.2.3.4. 1.2.3.4567 -1.2.3.4 1.2.3.4a 999.1.1.1 a.b
255.255.255.255 256.255.255.255 x:1 ::1 1.2.3.4x] [1.2.3.4 ipv6:1::g IPv6:1:2 IPv6: IPv6:::ffff:1.2.3.300 IPv6:1:2:3:4:5:6:7:8:9 IPv6:12345::1
IPv6:1:::2 IPv6::1:2:3:4:5:6:7:8 IPv6:1:2:3:4:5:6:7: IPv6:fe80::1%eth0 IPv6:1.2.3.4 IPv6:1::2:3:4:5:6:7:8 IPv6:::`
    .split(/\s+/)
    .concat("");
const NEXT_HOPS = ["[1.2.3.300]", "[IPv6:1::g]", "[1.2.3]", "1.2.3.300"];

t.test("addresses in numbers, valid and not", options, async (t) => {
  if ("missing" in programs) return;
  const twins = await Twins.start(t, programs, {
    mainCf: () => `relay_domains =
transport_maps = inline:{ ${NEXT_HOPS.map((hop, index) => `{ next${index}.test = smtp:${hop} }`).join(" ")} }
smtpd_helo_restrictions = reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname
smtpd_authorized_xclient_hosts = 127.0.0.1
smtpd_authorized_xforward_hosts = 127.0.0.1
smtpd_delay_reject = no
smtpd_sender_restrictions = reject_non_fqdn_sender
smtpd_recipient_restrictions = reject_non_fqdn_recipient, permit
disable_dns_lookups = yes
`,
  });
  const mail = (to: string) => ({ name: `to ${to}`, from: "nobody@localhost", to: [to] });
  await twins.compare(t, "mail", [
    ...ADDRESSES.map((address) => mail(`x@[${address}]`)),
    ...ADDRESSES.map((address) => ({ ...mail(`x@[${address}]`), sendmail: [] })),
    ...ADDRESSES.slice(0, 16).map((address) => ({ ...mail(`x@${address}`), sendmail: [] })),
    ...NEXT_HOPS.map((_, index) => mail(`x@next${index}.test`)),
  ]);
  await twins.compareAfter(
    t,
    "sessions",
    ADDRESSES.flatMap((address) =>
      [
        [`HELO [${address}]`, `MAIL FROM:<a@[${address}]>`, "QUIT"],
        [`HELO ${address}`, `MAIL FROM:<a@${address}>`, "QUIT"],
        ["ADDR", "NAME", "HELO", "DESTADDR"].map((name) => `XCLIENT ${name}=${address}`).concat("QUIT"),
        [`XFORWARD ADDR=${address}`, "QUIT"],
      ].map((lines) => (instance) => converse(instance.smtpPort, lines)),
    ),
  );
});
