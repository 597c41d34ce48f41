/** Address verification as clients of smtpd(8) see it, whoever wrote verify(8). */
import { connect } from "node:net";
import type { Test } from "tap";
import type { Instance } from "../../../packaging/instance.ts";
import { logged } from "../support/harness.ts";

export const mainCf = `smtpd_recipient_restrictions = reject_unverified_recipient, permit
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_sender_restrictions = reject_unverified_sender
address_verify_poll_delay = 1s
address_verify_poll_count = 10
local_recipient_maps =
unverified_sender_defer_code = 250
`;

/** Runs commands in one SMTP session; the last line of each reply. */
export function dialogue(port: number, commands: ReadonlyArray<string>): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    const replies: string[] = [];
    const queue = ["EHLO client.test", ...commands, "QUIT"];
    let buffered = "";
    socket.setTimeout(60_000, () => socket.destroy(new Error("timeout")));
    socket.on("error", reject);
    socket.on("data", (chunk) => {
      buffered += chunk.toString("latin1");
      for (;;) {
        const match = /^(?:\d{3}-[^\n]*\n)*(\d{3} [^\r\n]*)\r?\n/.exec(buffered);
        if (match === null) return;
        buffered = buffered.slice(match[0].length);
        replies.push(match[1] ?? "");
        const next = queue.shift();
        if (next === undefined) {
          socket.end();
          resolve(replies.slice(2, -1));
          return;
        }
        socket.write(`${next}\r\n`);
      }
    });
  });
}

export async function checkVerification(
  t: Test,
  instance: Instance,
  own: { readonly log?: boolean } = {},
): Promise<void> {
  const [mail, good, bad, remote] = await dialogue(instance.smtpPort, [
    "MAIL FROM:<>",
    "RCPT TO:<nobody@localhost>",
    "RCPT TO:<no-such-user@localhost>",
    "RCPT TO:<you@broken.test>",
  ]);
  t.match(mail, /^250 2\.1\.0/);
  t.match(good, /^250 2\.1\.5/);
  t.match(
    bad,
    /^450 4\.1\.1 <no-such-user@localhost>: Recipient address rejected: unverified address: unknown user: "no-such-user"$/,
  );
  t.match(
    remote,
    /^450 4\.1\.1 <you@broken\.test>: Recipient address rejected: unverified address: broken by design$/,
  );
  await logged(
    instance,
    /: to=<nobody@localhost>, relay=local, .*dsn=2\.0\.0, status=deliverable \(delivers to mailbox\)/,
  );
  await logged(
    instance,
    /: to=<no-such-user@localhost>, relay=local, .*dsn=5\.1\.1, status=undeliverable \(unknown user: "no-such-user"\)/,
  );
  await logged(
    instance,
    /: to=<you@broken\.test>, relay=none, .*dsn=5\.2\.1, status=undeliverable \(broken by design\)/,
  );
  await logged(
    instance,
    /qmgr\[\d+\]: [0-9A-F]+: from=<double-bounce@mail\.posthaste\.test>, size=\d+, nrcpt=1 \(queue active\)/,
  );
  t.notMatch(instance.maillog(), /status=(?:bounced|deferred)/, "no notices about probes");
  // from the cache, without a probe
  const probes = (): number => (instance.maillog().match(/from=<double-bounce@/g) ?? []).length;
  const before = probes();
  const again = await dialogue(instance.smtpPort, [
    "MAIL FROM:<nobody@localhost>",
    "RCPT TO:<nobody@localhost>",
    "RCPT TO:<no-such-user@localhost>",
  ]);
  t.same(
    again.map((line) => line.slice(0, 9)),
    ["250 2.1.0", "250 2.1.5", "450 4.1.1"],
  );
  t.equal(probes(), before);
  if (own.log === false) return;
  const [refused] = await dialogue(instance.smtpPort, [
    "MAIL FROM:<no-such-user@localhost>",
    "RCPT TO:<nobody@localhost>",
  ]).then((lines) => lines.slice(1));
  t.match(
    refused,
    /^450 4\.1\.7 <no-such-user@localhost>: Sender address rejected: unverified address: unknown user: "no-such-user"$/,
  );
}
