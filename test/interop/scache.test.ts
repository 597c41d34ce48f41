/** Connections that one smtp(8) process leaves with scache(8) and another one takes: ours, a real Postfix's, and each with the other's. */
import t from "tap";
import { sendMail } from "../../packaging/smtp_hello.ts";
import { logged, until } from "../system/support/harness.ts";
import { CountingSink } from "../system/support/load.ts";
import { type Mixture, mixedInstance } from "./support/mixed.ts";
import { reference } from "./support/reference.ts";

const programs = reference();
const skip = "missing" in programs ? { skip: programs.missing } : {};

const MIXTURES: ReadonlyArray<readonly [string, Mixture]> = [
  ["our smtp with our scache", { base: "ours", swapped: [] }],
  ["our smtp with a real scache", { base: "ours", swapped: ["scache"] }],
  ["a real smtp with our scache", { base: "real", swapped: ["scache"] }],
  ["our smtp and our scache in a real Postfix", { base: "real", swapped: ["smtp", "scache"] }],
];

for (const [name, mixture] of MIXTURES)
  t.test(name, skip, async (t) => {
    if ("missing" in programs) return;
    const sink = new CountingSink();
    const port = await sink.listen();
    t.teardown(() => sink.close());
    const instance = await mixedInstance(
      t,
      programs,
      mixture,
      // each process delivers once and ends, so that the next one has nothing of its own
      `relayhost = [127.0.0.1]:${port}\nsmtp_connection_cache_destinations = 127.0.0.1\n` +
        "smtp_client_limit = 1\nconnection_cache_status_update_time = 2s\n",
      () => "smtp unix - - n - - smtp -o max_use=1\n",
    );
    for (const [index, used] of [1, 2, 3].entries()) {
      const id = `kept${index}`;
      await sendMail(
        instance.smtpPort,
        "a@example.org",
        "z@faraway.test",
        `X-Load-Id: ${id}\r\n\r\nbody\r\n`,
      );
      await until(`arrival ${id}`, () => sink.arrivals.get(id) === 1);
      const reuse = used === 1 ? "" : `conn_use=${used}, `;
      await logged(
        instance,
        new RegExp(
          `to=<z@faraway\\.test>, relay=127\\.0\\.0\\.1\\[127\\.0\\.0\\.1\\]:${port}, ${reuse}delay=.*status=sent`,
        ),
      );
    }
    await logged(instance, /postfix\/scache\[\d+\]: statistics: /);
    t.equal(sink.arrivals.size, 3);
    t.notMatch(instance.maillog(), /scache.*(warning|fatal)/);
  });
