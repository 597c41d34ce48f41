/** What postlogd takes apart when maillog_file was switched off. */
import { readFileSync } from "node:fs";
import t from "tap";
import { splitRecord } from "../../../cmd/postlogd/forward.ts";

t.test("the record of a real program", async (t) => {
  const { info } = JSON.parse(
    readFileSync(new URL("../../vectors/ipc/postlog_datagram.json", import.meta.url), "utf8"),
  ) as { info: { hex: string } };
  t.same(splitRecord(Buffer.from(info.hex, "hex").toString("latin1")), {
    tag: "postfix/master[25003]",
    text: "daemon started -- version 3.12-20260821, configuration /etc/postfix",
  });
});

t.test("odd records", async (t) => {
  t.same(splitRecord("Nov 02 01:02:03 mail postfix/smtpd[1]: warning: a: b"), {
    tag: "postfix/smtpd[1]",
    text: "warning: a: b",
  });
  t.same(splitRecord("Nov 02 01:02:03 mail postfix/smtpd[1]: "), { tag: "postfix/smtpd[1]", text: "" });
  for (const record of [
    "",
    "x",
    "a b c d e",
    "a b: c",
    "Nov 02 01:02:03 mail",
    '{"level":"info","message":"x y: z"}',
  ])
    t.equal(splitRecord(record), undefined, JSON.stringify(record));
});
