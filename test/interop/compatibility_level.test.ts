/** COMPATIBILITY_README: what an old compatibility_level makes the programs say, beside the real ones. */
import t, { type Test } from "tap";
import { Administration, type Session } from "./support/administration.ts";
import { reference } from "./support/reference.ts";

t.setTimeout(120_000);
const real = reference();
const skip = "missing" in real ? { skip: real.missing } : {};

const SERVICES = [
  "smtp inet n - n - - smtpd",
  "anvil unix - - n - 1 anvil",
  "proxymap unix - - n - - proxymap",
  "smtp unix - - n - - smtp",
  "relay unix - - n - - smtp",
];
const SETTINGS = [
  "compatibility_level = 0",
  "myhostname = mail.test",
  "mydestination = localhost, relay.test",
  "smtpd_peername_lookup = no",
  "local_recipient_maps =",
  "smtp_tls_security_level =",
];
const lines = (text: ReadonlyArray<string>): string => text.map((line) => `'${line}'`).join(" ");
const running = (settings: ReadonlyArray<string>): string =>
  [
    `printf '%s\\n' ${lines(SERVICES)} >>/etc/postfix/master.cf`,
    "sed -i '/^compatibility_level/d' /etc/postfix/main.cf",
    `printf '%s\\n' ${lines([...SETTINGS, ...settings])} >>/etc/postfix/main.cf`,
    "touch -d 2023-11-14 /etc/postfix/*.cf; ip addr add 10.1.1.1/24 dev lo; postfix start",
  ].join("; ");
/** One client's commands, and nobody listens to the replies. */
const client = (address: string, commands: ReadonlyArray<string>): string =>
  `(sleep 1; for line in ${lines(commands)}; do printf '%b\\r\\n' "$line"; sleep 0.25; done) | socat -t 4 - TCP:127.0.0.1:25,bind=${address} >/dev/null`;
const SAID =
  "grep -o '[a-z]*\\[[0-9]*\\]: using back.*' log/mail.log | sed 's/\\[[0-9]*\\]//' | cat -n; postfix stop 2>/dev/null";
const BEGIN = ["EHLO x", "MAIL FROM:<a@x.test>"];

const SESSIONS: ReadonlyArray<Session> = [
  {
    name: "mynetworks_style",
    before: running(["smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination"]),
    commands: [
      client("127.0.0.2", [...BEGIN, "RCPT TO:<b@other.test>", "RCPT TO:<c@localhost>", "QUIT"]),
      client("127.0.0.1", [...BEGIN, "RCPT TO:<b@other.test>", "QUIT"]),
      SAID,
    ],
  },
  {
    name: "relay_domains",
    before: running([
      "mynetworks = 127.0.0.1",
      "smtpd_relay_restrictions = permit_auth_destination, reject",
      "relay_recipient_maps = inline:{ok@sub.relay.test=x}",
      "smtpd_reject_unlisted_sender = yes",
    ]),
    commands: [
      client("127.0.0.1", [
        ...BEGIN,
        "RCPT TO:<b@relay.test>",
        "RCPT TO:<ok@SUB.relay.test>",
        "RCPT TO:<ok@sub.relay.test>",
        "RCPT TO:<no@sub.relay.test>",
        "VRFY ok@sub.relay.test",
        "RSET",
        "MAIL FROM:<ok@sub.relay.test>",
        "RCPT TO:<ok@sub.relay.test>",
        "RSET",
        "ETRN sub.relay.test",
        "ETRN other.test",
        "QUIT",
      ]),
      "postqueue -s sub.relay.test 2>&1 | tail -1",
      "printf 'x\\n\\nx\\n' | sendmail b@sub.relay.test; sleep 3",
      SAID,
    ],
  },
  {
    name: "smtputf8_enable, and relay control that is only tried",
    before: running([
      "mynetworks = 10.1.1.1",
      "smtpd_recipient_restrictions = check_client_access static:OK, reject",
    ]),
    commands: [
      client("127.0.0.1", [
        "EHLO x",
        "MAIL FROM:<\\0303\\0244@x.test>",
        "RCPT TO:<\\0303\\0266@localhost>",
        "RCPT TO:<\\0344@sub.relay.test>",
        "RCPT TO:<a@other.test>",
        "VRFY \\0303\\0274@localhost",
        "RCPT TO:<a@\\0303\\0274.test>",
        "QUIT",
      ]),
      SAID,
    ],
  },
  {
    name: "nothing is said of what is set",
    before: running([
      "mynetworks = 127.0.0.0/8",
      "relay_domains = relay.test",
      "smtputf8_enable = no",
      "smtpd_relay_restrictions = permit_mynetworks, reject",
    ]),
    commands: [
      client("127.0.0.2", [
        "EHLO x",
        "MAIL FROM:<\\0303\\0244@x.test>",
        "RCPT TO:<a@sub.relay.test>",
        "ETRN sub.relay.test",
        "QUIT",
      ]),
      SAID,
    ],
  },
];

t.test("old defaults are noted where they take effect", { ...skip }, async (t: Test) => {
  if ("missing" in real) return;
  const machines = new Administration(real);
  t.teardown(() => machines.remove());
  await Promise.all(
    SESSIONS.map(async (session) => {
      const [theirs, ours] = await machines.both(session);
      const said = (text: string): string => text.slice(0, text.indexOf("--- log"));
      t.equal(said(ours), said(theirs), session.name);
      if (session.name.startsWith("nothing")) t.notMatch(said(theirs), /backwards/);
      else t.match(said(theirs), /: using backwards-compatible default setting/);
    }),
  );
});
