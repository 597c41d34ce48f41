/** Where trivial-rewrite(8) sends mail is where the real one sends it: classes, transports by recipient and by sender, relocated users, both contexts. */
import t from "tap";
import { reference } from "../support/reference.ts";
import { type Mail, Twins } from "../support/twins.ts";

const programs = reference();
const options = "missing" in programs ? { skip: programs.missing } : {};
t.setTimeout(120_000);

const MAIN_CF = `recipient_delimiter = +
local_recipient_maps =
mydestination = $myhostname, localhost, here.test
virtual_alias_domains = valias.test
virtual_mailbox_domains = vbox.test
virtual_alias_maps = inline:{ { a@valias.test = games@localhost } }
virtual_transport = discard:virtual
relay_domains = relay.test
relay_transport = discard:relay
default_transport = discard:default
local_transport = local:here
relayhost = [relayhost.test]
append_dot_mydomain = yes
sender_dependent_relayhost_maps = inline:{ { by@sender.test = [sdrelay.test] } { @sdomain.test = DUNNO } { <> = [null.test] } }
sender_dependent_default_transport_maps = inline:{ { by@transport.test = discard:sd transport } { dunno@transport.test = DUNNO } { keep@transport.test = discard } { <> = discard:null sender } }
transport_maps = inline:{ { user@exact.test = discard:exact } { plus@exact.test = discard:plus } { plus+ext@exact.test = discard:with ext } { exact.test = discard:domain } { .sub.test = discard:below } { next.test = :next hop } { empty.test = : } { nohop.test = discard: } { nohoperr.test = error: } { odd.test = discard } { alias@valias.test = discard:not for aliases } { slow.test = retry:4.2.1 slow } { games@localhost = discard:moved by transport } }
relocated_maps = inline:{ { gone@localhost = elsewhere@new.test } { @moved.test = new.test } { list = other@x.test } { games+old@here.test = gone } }
`;

const RECIPIENTS = [
  "news@localhost",
  "news@LOCALHOST.",
  "news@here.test",
  "news@mail.posthaste.test",
  "news+x@here.test",
  "news",
  "news@here",
  "news%localhost@localhost",
  "x%far.test@localhost",
  '"x@far.test"@localhost',
  "@here.test:news@localhost",
  "news@[127.0.0.1]",
  "news@[10.0.0.1]",
  "a@valias.test",
  "b@valias.test",
  "alias@valias.test",
  "x@vbox.test",
  "x@relay.test",
  "x@sub.relay.test",
  "x@far.test",
  "x@a.sub.test",
  "x@sub.test",
  "x@a.b.sub.test",
  "user@exact.test",
  "USER@Exact.Test",
  "user+x@exact.test",
  "plus@exact.test",
  "plus+ext@exact.test",
  "plus+other@exact.test",
  "other@exact.test",
  "x@next.test",
  "x@empty.test",
  "x@nohop.test",
  "x@nohoperr.test",
  "x@odd.test",
  "x@slow.test",
  "gone@localhost",
  "gone+x@localhost",
  "x@moved.test",
  "list@localhost",
  "games+old@here.test",
  "games@localhost",
  "games+x@localhost",
  "-f@localhost",
  "-f@far.test",
  "x@host.",
  "x@host..",
  "x@.host",
  "x@a_b.test",
  "x@-a.test",
  "x@1234",
  "x@10.0.0.1",
  "a!b@localhost",
  "far.test!x@localhost",
  "double-bounce@localhost",
  "postmaster@localhost",
  "x@xn--bcher-kva.test",
];
const SENDERS = [
  "by@sender.test",
  "x@sdomain.test",
  "by@transport.test",
  "BY@Transport.Test",
  "by+ext@transport.test",
  "dunno@transport.test",
  "keep@transport.test",
  "",
  "other@sender.test",
];

const MAILS: ReadonlyArray<Mail> = [
  ...RECIPIENTS.map((to): Mail => ({ name: to, to: [to] })),
  ...RECIPIENTS.slice(0, 12).map(
    (to): Mail => ({ name: `sendmail ${to}`, to: [to], sendmail: [], from: "nobody@localhost" }),
  ),
  ...SENDERS.flatMap((from): Mail[] =>
    ["x@far.test", "x@relay.test"].map((to) => ({ name: `${from} to ${to}`, from, to: [to] })),
  ),
  ...["news@localhost", "x@far.test", "gone@localhost"].map(
    (to): Mail => ({ name: `verify ${to}`, to: [to], sendmail: ["-bv"], from: "nobody@localhost" }),
  ),
];

const other = (settings: string): string =>
  `${MAIN_CF.split("\n")
    .filter((line) => !settings.includes(`${line.split(" =", 1)[0]} =`))
    .join("\n")}\n${settings}`;

t.test("routing", options, async (t) => {
  if ("missing" in programs) return;
  const twins = await Twins.start(t, programs, { mainCf: () => MAIN_CF });
  await twins.compare(t, "every class and table", MAILS);
});

t.test("routing with other settings", options, async (t) => {
  if ("missing" in programs) return;
  const twins = await Twins.start(t, programs, {
    mainCf: () =>
      other(`swap_bangpath = no
allow_percent_hack = no
append_at_myorigin = no
append_dot_mydomain = no
resolve_dequoted_address = no
resolve_null_domain = yes
resolve_numeric_domain = yes
relocated_prefix_enable = no
allow_min_user = yes
show_user_unknown_table_name = no
parent_domain_matches_subdomains =
empty_address_recipient = postmaster
relayhost =
smtpd_sasl_auth_enable = no
relocated_maps = inline:{ { gone@localhost = 5.1.6 moved away } { list = no status here } }
`),
  });
  await twins.compare(t, "every class and table", MAILS);
});
