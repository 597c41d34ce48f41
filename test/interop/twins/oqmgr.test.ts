/** The queue manager of old hands mail out in the order in which the real one does. */
import t from "tap";
import type { Instance } from "../../../packaging/instance.ts";
import { queueFiles, until } from "../../system/support/harness.ts";
import { mixedInstance } from "../support/mixed.ts";
import { reference } from "../support/reference.ts";
import { converse } from "../support/twins.ts";

const programs = reference();

const MAIN_CF = `local_recipient_maps =
relay_domains = static:all
smtpd_peername_lookup = no
qmgr_message_recipient_limit = 30
qmgr_message_active_limit = 30
slow_destination_recipient_limit = 2
slow_destination_concurrency_limit = 1
slow_initial_destination_concurrency = 1
transport_maps = inline:{ { slow.test = slow:slow } }
`;
const SLEEP = "pipe user=nobody argv=/bin/sleep 0.1";
const MASTER_CF = `qmgr unix n - n 300 1 oqmgr
slow unix - n n - 1 ${SLEEP}
`;

const send = async (instance: Instance, to: ReadonlyArray<string>): Promise<void> => {
  const replies = await converse(instance.smtpPort, [
    "EHLO client.test",
    "MAIL FROM:<nobody@localhost>",
    ...to.map((address) => `RCPT TO:<${address}>`),
    "DATA",
    "Subject: x\r\n\r\nbody\r\n.",
    "QUIT",
  ]);
  if (replies.some((reply) => !/^[23]/.test(reply))) throw new Error(replies.join(""));
};

/** Recipients in the order of their deliveries. */
const order = (instance: Instance): string[] =>
  [...instance.maillog().matchAll(/\bpipe\[\d+\]: .*?to=<(.*?)>/g)].map(([, to = ""]) => to);

/** Waits until so many recipients have their mail, and nothing is on its way. */
const delivered = async (instance: Instance, count: number): Promise<void> => {
  await until(`${count} deliveries`, () => order(instance).length >= count, 30);
  await until("an empty queue", () =>
    ["incoming", "active"].every((queue) => queueFiles(instance, queue).length === 0),
  );
};

const many = (name: string, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${name}${String(index).padStart(2, "0")}@slow.test`);

t.test(
  "oqmgr: order of deliveries",
  { ...("missing" in programs ? { skip: programs.missing } : {}), timeout: 60_000 },
  async (t) => {
    if ("missing" in programs) return;
    const [ours = [], real = []] = await Promise.all(
      (["ours", "real"] as const).map(async (base) => {
        const instance = await mixedInstance(t, programs, { base, swapped: [] }, MAIN_CF, () => MASTER_CF);
        await send(instance, many("big", 40));
        await send(instance, ["small@slow.test"]);
        await delivered(instance, 41);
        return order(instance);
      }),
    );
    t.ok(ours.length > 20, "deliveries");
    t.same(ours, real);
  },
);
