import { readFileSync } from "node:fs";
import t from "tap";
import { encodeUtf8 } from "../../../lib/sys/bytes.ts";
import { fileTables } from "../address/fake_tables.ts";
import { checkTables, ID, names, type Outcome, type Submission, submit } from "./harness.ts";

type Pair = readonly [string, string];
interface Case {
  name: string;
  service_config: Record<string, string | number>;
  input: {
    rcpts?: Array<string | Array<Pair | Pair[]>>;
    content: string;
    recs?: Pair[];
    flags?: number;
    pre?: Pair[];
    post?: Pair[];
    xtra?: Pair[];
    received?: boolean;
    sender?: string | null;
  };
  result: {
    status: string;
    reason: string;
    envelope: string[];
    content?: string[];
    extracted?: string[];
    log: string[];
  };
}
const cases: Case[] = JSON.parse(readFileSync("test/vectors/processing/cleanup.json", "utf8"));

const MAPS = new Set(["maps", "sbcc", "canon-loop", "nomapflag"]);

function tablesFor(row: Case): Pick<Submission, "tables" | "config"> {
  const { see, ...config } = row.service_config as Record<string, string>;
  if (row.name === "dup-noorcpt") {
    config.message_drop_headers = "bcc,x-drop-me";
    config.message_strip_characters = "\\0";
  }
  if (see === undefined) return { config };
  if (MAPS.has(row.name))
    return {
      config: {
        masquerade_domains: "mail.example.com,example.com,!keep.masq.example,masq.example",
        always_bcc: "archive@example.com",
      },
      tables: {
        canonical: fileTables("canonical"),
        senderCanonical: fileTables("scanon"),
        recipientCanonical: fileTables("rcanon"),
        senderBcc: fileTables("sbcc"),
        recipientBcc: fileTables("rbcc"),
        masqueradeExceptions: names("root"),
      },
    };
  return {
    config,
    tables: {
      headerChecks: checkTables("hchecks"),
      mimeHeaderChecks: checkTables("mchecks"),
      nestedHeaderChecks: checkTables("nchecks"),
      bodyChecks: checkTables("bchecks"),
    },
  };
}

const HOLD = 4;
const pairs = (list: ReadonlyArray<Pair | ReadonlyArray<Pair>>): Pair[] =>
  list.flatMap((item) => (typeof item[0] === "string" ? [item as Pair] : (item as Pair[])));

function submissionOf(row: Case): Submission {
  const { input } = row;
  const records: Pair[] = [["T", "1700000000 123456"], ...(input.pre ?? [])];
  if (input.sender !== null) records.push(["S", input.sender ?? "sender@example.com"]);
  records.push(...(input.post ?? []));
  for (const recipient of input.rcpts ?? ["rcpt@example.com"])
    if (typeof recipient === "string") records.push(["R", recipient]);
    else records.push(...pairs(recipient));
  records.push(["M", ""]);
  if (input.received !== false) records.push(["N", "Received: by test.example (Postfix)"]);
  if (input.recs !== undefined) records.push(...input.recs);
  else records.push(...input.content.split("\n").map((line): Pair => ["N", line]));
  records.push(["X", ""], ...(input.xtra ?? []), ["E", ""]);
  return {
    ...tablesFor(row),
    flags: (input.flags ?? 114) | HOLD,
    records: records.map(([type, data]) => [type, encodeUtf8(data)]),
  };
}

/** Without what differs from run to run. */
const stable = (text: string): string =>
  text
    .replaceAll(ID, "QUEUEID")
    .replace(/<\d{14}\.QUEUEID/, "<TIME.QUEUEID")
    .replace(/create_time=\d+/, "create_time=NOW");
const decoded = (text: string): string => Buffer.from(text, "latin1").toString("utf8");

function render(outcome: Outcome): { envelope: string[]; content: string[]; extracted: string[] } {
  const sections: { envelope: string[]; content: string[]; extracted: string[] } = {
    envelope: [],
    content: [],
    extracted: [],
  };
  let section: keyof typeof sections = "envelope";
  for (const [type, data] of outcome.records) {
    if (type === "M" && section === "envelope") section = "content";
    else if (type === "X") section = "extracted";
    else if (section === "content")
      sections.content.push(stable(decoded(type === "N" ? data : `${type}:${data}`)));
    else sections[section].push(stable(decoded(type + data)));
  }
  return sections;
}

const BY_BOUNCE = /status=bounced|postfix\/bounce/;

for (const row of cases) {
  t.test(row.name, async (t) => {
    const submission = submissionOf(row);
    for (const chunk of [undefined, 7]) {
      const outcome = await submit(chunk === undefined ? submission : { ...submission, chunk });
      const { result } = row;
      t.equal(String(outcome.status), result.status, "status");
      t.equal(outcome.reason, result.reason, "reason");
      t.same(
        outcome.log.map((line) => decoded(stable(line))),
        result.log.filter((line) => !BY_BOUNCE.test(line)).map(stable),
        "log",
      );
      const sections = render(outcome);
      t.same(sections.envelope, result.envelope.map(stable), "envelope");
      if (result.content !== undefined) t.same(sections.content, result.content.map(stable), "content");
      if (result.extracted !== undefined)
        t.same(sections.extracted, result.extracted.map(stable), "extracted");
    }
  });
}
