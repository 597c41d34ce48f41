/** `sendmail -bs`, for ourselves and for a real Postfix: the same replies and log lines (SMTPD-36). */
import t, { type Test } from "tap";
import { until } from "../system/support/harness.ts";
import { command, mixedInstance } from "./support/mixed.ts";
import { type Reference, reference } from "./support/reference.ts";

const programs = reference();
const skip = "missing" in programs ? { skip: programs.missing } : {};

/** Settings that only concern clients of the network. */
const mainCf = `smtpd_recipient_restrictions = check_policy_service inet:127.0.0.1:9
smtpd_client_restrictions = reject
smtpd_client_connection_count_limit = 1
smtpd_authorized_xclient_hosts = static:all
smtpd_authorized_xforward_hosts = static:all
smtpd_authorized_verp_clients = static:all
smtpd_proxy_filter = 127.0.0.1:9
smtpd_forbid_bare_newline = reject
`;

const INPUT = [
  ...[
    "EHLO x",
    "HELP",
    "NOOP a",
    "VRFY nobody",
    "VRFY nosuch",
    "ETRN relay.test",
    "STARTTLS",
    "AUTH PLAIN x",
  ],
  ...["XFORWARD NAME=x", "FOO", "CONSTRUCTOR", "MAIL FROM:<a@b.c> RET=HDRS ENVID=x BODY=8BITMIME"],
  ...["RCPT TO:<nobody> NOTIFY=NEVER", "RCPT TO:<nosuch@elsewhere.test> ORCPT=rfc822;x", "RCPT TO:<>"],
  ...["DATA", "Subject: x", "", "hi", "..dot", ".", "RSET", "MAIL FROM:<>", "RCPT TO:<nobody>"],
  ...["BDAT 5 LAST", "ab", "cBDAT 0 LAST", "MAIL FROM:<a@b.c>", "RCPT TO:<nobody>", "BDAT 4", "ab"],
  ...["BDAT 2 LAST", "c", "DATA", "MAIL FROM:<a@b.c> SIZE=99999999", "QUIT"],
];

async function session(t: Test, reference: Reference, base: "ours" | "real"): Promise<string[]> {
  const instance = await mixedInstance(t, reference, { base, swapped: [] }, mainCf);
  const run = command(instance, "sendmail", ["-bs"], `${INPUT.join("\r\n")}\r\n`);
  const log = await until("the end of the session", () => {
    const lines = instance
      .maillog()
      .split("\n")
      .filter((line) => /postfix\/smtpd\[/.test(line));
    return lines.some((line) => line.includes(": disconnect from ")) && lines;
  });
  const same = (line: string): string => line.replace(/\b[0-9A-F]{8,14}\b(?!=)/g, "QUEUEID").trimEnd();
  return [
    `status ${run.status}`,
    ...run.stdout.split("\n").map(same),
    ...run.stderr.split("\n"),
    ...log.map((line) => same(line.replace(/^.*?smtpd\[\d+\]: /, ""))),
  ];
}

t.test("SMTPD-36 a stand-alone server", skip, async (t) => {
  if ("missing" in programs) return;
  const real = await session(t, programs, "real");
  const ours = await session(t, programs, "ours");
  t.same(ours, real);
  t.equal(real.filter((line) => /^250 2\.0\.0 Ok: .*queued as QUEUEID$/.test(line)).length, 3);
});
