/** JS-11: records of a queue file beyond 2 and 4 GB (the file has a hole), as an edit could leave them. */
import { closeSync, openSync, readFileSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { sendMail } from "../../packaging/smtp_hello.ts";
import { queueFiles, runningInstance, troubles, until } from "./support/harness.ts";
import { fileOf } from "./support/queue_files.ts";

t.setTimeout(120_000);

/** Its record is as long as a pointer's. */
const LINE = "fifteen letters";
const TARGETS = [3_000_000_000, 9_000_000_000];

for (const target of TARGETS)
  t.test(`the rest of the content at ${target}`, async (t) => {
    const instance = await runningInstance(t, {
      mainCf:
        "message_size_limit = 0\nmailbox_size_limit = 0\nvirtual_mailbox_limit = 0\nheader_checks = static:HOLD\n",
    });
    const { recipient } = instance.who;
    await sendMail(
      instance.smtpPort,
      "a@example.org",
      `${recipient}@localhost`,
      `Subject: x\r\n\r\nbefore\r\n${LINE}\r\nafter\r\n`,
    );
    const [path = ""] = await until(
      "the held message",
      () => queueFiles(instance, "hold").length === 1 && queueFiles(instance, "hold"),
    );
    const id = path.slice(path.lastIndexOf("/") + 1);
    const file = fileOf(instance, "hold", id);
    const bytes = readFileSync(file);
    const record = Buffer.from(`N\x0f${LINE}`, "latin1");
    const at = bytes.indexOf(record);
    const fd = openSync(file, "r+");
    writeSync(fd, `p\x0f${String(target).padStart(15)}`, at, "latin1");
    writeSync(fd, bytes.subarray(at), 0, bytes.length - at, target);
    closeSync(fd);
    t.ok(statSync(file).blocks * 512 < 1_000_000, "most of it is a hole");
    const content = /\n\nbefore\nfifteen letters\nafter\n/;
    t.match(instance.must("postcat", ["-bhq", id]), content);
    t.match(
      instance.must("postcat", ["-o", "-q", id]),
      new RegExp(`^ *${target + LINE.length + 2} after$`, "m"),
    );
    instance.must("postsuper", ["-H", id]);
    instance.must("postqueue", ["-f"]);
    await until("delivery", () =>
      ["hold", "incoming", "active", "deferred"].every((queue) => queueFiles(instance, queue).length === 0),
    );
    t.match(readFileSync(join(instance.mail, recipient), "latin1"), content);
    t.same(troubles(instance), []);
  });
