import { readFileSync } from "node:fs";
import t from "tap";
import { decode } from "../../../lib/ipc/attributes.ts";
import { CleanupFlags } from "../../../lib/ipc/protocols/cleanup.ts";
import { checkTables, decodeRecords, ID, submit } from "./harness.ts";

interface Case {
  request_b64: string;
  reply: string[];
  held_file_b64: string | null;
  greeting_b64: string;
}
const cases: Record<string, Case> = JSON.parse(
  readFileSync("test/vectors/queue/ipc/cleanup_cases.json", "utf8"),
);

const stable = (id: string) => (record: readonly [string, string]) =>
  `${record[0]} ${record[1]}`
    .replaceAll(id, "QUEUEID")
    .replace(/<\d{14}\./, "<TIME.")
    .replace(/create_time=\d+/, "create_time=NOW");

for (const [name, row] of Object.entries(cases)) {
  t.test(name, async (t) => {
    const request = Buffer.from(row.request_b64, "base64");
    const flags = decode(CleanupFlags, request);
    if (flags.kind !== "value") return t.fail("flags");
    const records = decodeRecords(request.subarray(flags.length));
    const hold = { ...checkTables("hchecks") };
    const outcome = await submit({
      config: { delay_warning_time: "1h", myorigin: "mail.example.com" },
      flags: flags.value.flags,
      records,
      tables: {
        headerChecks: {
          ...hold,
          lookup: (key) =>
            Promise.resolve(
              /^Subject: hold/.test(key) ? { kind: "found", value: "HOLD" } : { kind: "absent" },
            ),
        },
      },
    });
    t.equal(String(outcome.status), row.reply[1], "status");
    t.equal(outcome.reason, row.reply[3] ?? "", "reason");
    if (row.held_file_b64 === null) return;
    const held = decodeRecords(Buffer.from(row.held_file_b64, "base64"));
    const greeting = Buffer.from(row.greeting_b64, "base64").toString("latin1").split("\0");
    t.same(outcome.records.map(stable(ID)), held.map(stable(greeting[3] ?? "")), "queue file");
  });
}
