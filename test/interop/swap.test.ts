/** Each daemon of ours alone inside a real Postfix, and each real daemon alone inside ours: mail flows, and each speaks the other's protocols. */
import t from "tap";
import { sendMail } from "../../packaging/smtp_hello.ts";
import { logged } from "../system/support/harness.ts";
import { exercise, mixedInstance, SHARED_DAEMONS } from "./support/mixed.ts";
import { reference } from "./support/reference.ts";

const programs = reference();
const skip = "missing" in programs ? { skip: programs.missing } : {};

for (const daemon of SHARED_DAEMONS) {
  t.test(`our ${daemon} in a real Postfix`, skip, async (t) => {
    if ("missing" in programs) return;
    const instance = await mixedInstance(t, programs, { base: "real", swapped: [daemon] });
    await exercise(t, instance);
  });
  t.test(`a real ${daemon} in our system`, skip, async (t) => {
    if ("missing" in programs) return;
    const instance = await mixedInstance(t, programs, { base: "ours", swapped: [daemon] });
    await exercise(t, instance);
  });
}

for (const command of ["sendmail", "postdrop", "postqueue", "postkick", "postcat", "postsuper"]) {
  t.test(`a real ${command} with our daemons`, skip, async (t) => {
    if ("missing" in programs) return;
    await exercise(t, await mixedInstance(t, programs, { base: "ours", swapped: [command] }));
  });
  t.test(`our ${command} with real daemons`, skip, async (t) => {
    if ("missing" in programs) return;
    await exercise(t, await mixedInstance(t, programs, { base: "real", swapped: [command] }));
  });
}

t.test("a real agent with one process is free again as soon as it has answered", skip, async (t) => {
  if ("missing" in programs) return;
  const instance = await mixedInstance(
    t,
    programs,
    { base: "ours", swapped: ["discard"] },
    "relay_domains = single.test\ntransport_maps = inline:{ { single.test = single: } }\n",
    () => "single unix - - n - 1 discard\n",
  );
  const began = performance.now();
  for (let count = 1; count <= 4; count++) {
    await sendMail(instance.smtpPort, "a@example.org", `u${count}@single.test`, "Subject: x\r\n\r\nx\r\n");
    await logged(instance, new RegExp(`to=<u${count}@single\\.test>.*status=sent`), 60);
  }
  t.ok(performance.now() - began < 10_000, `${(performance.now() - began).toFixed(0)} ms for four messages`);
});
