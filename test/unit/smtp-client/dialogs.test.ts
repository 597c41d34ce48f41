/** The dialogues of a real Postfix with scripted servers, replayed (test/vectors/delivery/smtp-dialogs.json). */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import t from "tap";
import { type Agent, type Job, Queue, type Script, ScriptedServer, type Transcript } from "./harness.ts";

interface Dialog {
  readonly name: string;
  readonly rcpts: ReadonlyArray<string | ReadonlyArray<readonly [string, string]>>;
  readonly server: Script;
  readonly transcripts: ReadonlyArray<Transcript>;
  readonly log: ReadonlyArray<string>;
}

const VECTORS = resolve(import.meta.dirname, "../../vectors/delivery");
const dialogs = JSON.parse(readFileSync(join(VECTORS, "smtp-dialogs.json"), "utf8")) as Dialog[];
const utf8 = (text: string): string => Buffer.from(text, "utf8").toString("latin1");

const HEAD = ["Received: by test.example (Postfix)", "From: sender@remote.example"];
const STANDARD = [
  ...HEAD,
  "To: x@example.com",
  "Subject: test",
  "Message-Id: <fixed@id>",
  "Date: now",
  "",
  "body",
];
const TAIL = ["Message-Id: <fixed@id>", "Date: now"];
const CONTENT: Readonly<Record<string, ReadonlyArray<string>>> = {
  "8bit-downgrade": [
    ...HEAD,
    "MIME-Version: 1.0",
    "Content-Type: text/plain; charset=utf-8",
    "Content-Transfer-Encoding: 8bit",
    ...TAIL,
    "",
    utf8("café"),
    ".dot",
    "..two",
  ],
  generic: [
    HEAD[0] ?? "",
    "From: Foo <sender@remote.example>",
    "To: hdr@remote.example,",
    " other@x.example",
    ...TAIL,
    "",
    "b",
  ],
  checks: [
    ...HEAD,
    ...TAIL,
    "X-Warn: 1",
    "X-Rep: 1",
    "X-Pre: 1",
    "X-Ign: 1",
    "X-Strip: 1",
    "X-Rej: 1",
    "",
    "badline",
    "repx",
    "last",
  ],
  options: [
    ...HEAD,
    ...TAIL,
    "",
    "0123456789".repeat(9),
    `.${"x".repeat(39)}`,
    "y".repeat(40),
    `${"z".repeat(39)}.w`,
  ],
};
const REQUESTS: Readonly<Record<string, Job["request"]>> = {
  "dsn-2": { envelopeId: "env id+1", retFlags: 2 },
  "8bit-downgrade": { encoding: "8bit" },
  "utf8-need": { sendopts: 9 },
  "utf8-have": { sendopts: 9, flags: 3 | 6144 },
  quote: { flags: 3 | 6144 },
  "probe-usr": { flags: 3 | 512 | 6144 },
  "probe-mta": { flags: 3 | 256 },
  options: {
    clientName: "client.example",
    clientAddress: "192.0.2.1",
    clientPort: "1234",
    clientProtocol: "ESMTP",
    clientHelo: "h e.lo",
  },
};
/** Cached connections, servers that never answer within a test's time, a path of the captured machine. */
const SKIPPED = new Set(["dsn", "8bit-ok", "code99", "lmtp-unix", "lmtp-unix-missing", "loop"]);

t.test("dialogues", async (t) => {
  const queue = await new Queue().start();
  t.teardown(() => queue.stop());
  const config = join(VECTORS, "config");
  const agents = new Map<string, Agent>();
  const agentFor = async (key: string, fallbackPort: number): Promise<Agent> => {
    const checks = ["header_checks", "body_checks", "reply_filter", "delivery_status_filter"];
    const files = ["shchecks", "sbchecks", "sreply", "sdsn"];
    const options: Record<string, ReadonlyArray<string>> = {
      smtp: [],
      fb: [`smtp_fallback_relay=[127.0.0.1]:${fallbackPort}`],
      gen: [`smtp_generic_maps=texthash:${config}/generic`],
      chk: checks.map((name, index) => `smtp_${name}=regexp:${config}/${files[index]}`),
      flags: ["flags=DORX"],
      lmx: ["flags=DORX"],
      opt: [
        "smtp_line_length_limit=40",
        "smtp_send_xforward_command=yes",
        "smtp_discard_ehlo_keywords=pipelining,dsn",
        "smtp_skip_quit_response=no",
        "smtp_helo_name=helo.name.example",
      ],
      fast: ["mail", "helo", "rcpt", "data_done", "data_init"].map((stage) => `smtp_${stage}_timeout=3`),
      lm: [],
    };
    const known = agents.get(key);
    if (known !== undefined && key !== "fb") return known;
    const mode = key.startsWith("lm") ? "lmtp" : "smtp";
    const agent = await queue.agent(mode, options[key] ?? []);
    agents.set(key, agent);
    return agent;
  };

  for (const dialog of dialogs) {
    if (SKIPPED.has(dialog.name)) continue;
    await t.test(dialog.name, async (t) => {
      const first = await new ScriptedServer(dialog.server).start();
      const { ehlo } = dialog.server;
      const second = await new ScriptedServer(
        ehlo === undefined ? { ehlo: ["fake.example", "SIZE 10240000"] } : { ehlo },
      ).start();
      t.teardown(() => {
        first.stop();
        second.stop();
      });
      const recipients = dialog.rcpts.map((rcpt) => {
        if (typeof rcpt === "string") return { recipient: utf8(rcpt) };
        const value = (key: string, prefix = ""): string =>
          rcpt.find(([type, text]) => type === key && text.startsWith(prefix))?.[1].slice(prefix.length) ??
          "";
        return {
          recipient: value("R"),
          originalRecipient: value("O"),
          dsnOriginalRecipient: value("A", "dsn_orig_rcpt="),
          notifyFlags: Number(value("A", "notify_flags=")),
        };
      });
      const domain = /@([a-z0-9]+)\.test$/.exec(recipients[0]?.recipient ?? "")?.[1] ?? "";
      const key =
        ["fb", "gen", "chk", "flags", "opt", "fast", "lm", "lmx"].find((name) => name === domain) ?? "smtp";
      const agent = await agentFor(key, second.port);
      const nexthop =
        domain === "two"
          ? `[127.0.0.1]:${first.port},[127.0.0.1]:${second.port}`
          : domain === "fb" || domain === "nolisten"
            ? "[127.0.0.1]:1"
            : key.startsWith("lm")
              ? `inet:127.0.0.1:${first.port}`
              : `[127.0.0.1]:${first.port}`;
      const sorted = [...recipients].sort((a, b) => (a.recipient < b.recipient ? -1 : 1));
      const job: Job = { nexthop, recipients: sorted, content: CONTENT[dialog.name] ?? STANDARD };
      const request = REQUESTS[dialog.name];
      const result = await agent.deliver(request === undefined ? job : { ...job, request });
      const ports = (line: string): string =>
        line
          .replaceAll(`]:${first.port}`, `]:${key.startsWith("lm") ? 2603 : 2601}`)
          .replaceAll(`]:${second.port}`, "]:2602")
          .replaceAll("]:1:", "]:2699:");
      const expectedLog = dialog.log
        .filter((line) => !line.includes("qmgr: "))
        .map((line) => line.replace(/^postfix\/[ls]mtp: /, ""));
      t.same(result.log.map(ports), expectedLog, "log");

      const sizes = (line: string): string => line.replace(/SIZE=[0-9]+/, "SIZE=N");
      // What the captured server did last, and which of its replies came in one line, differs by timing.
      const clean = (transcript: Transcript): Transcript =>
        transcript
          .map((line) => (typeof line === "string" ? sizes(line) : line.map((content) => content)))
          .filter(
            (line) =>
              line !== "C: <EOF>" && line !== "S: 221 2.0.0 Bye" && line !== "    -- second server --",
          );
      const expected = dialog.transcripts.map((transcript) =>
        clean(transcript.filter((line) => line !== "-- second server --")),
      );
      const actual = [...first.transcripts, ...second.transcripts].map(clean);
      // Our scripted server drops a connection where the captured one did; sequences of a pipelined group are the same.
      const flat = (transcripts: Transcript[]): unknown =>
        transcripts
          .filter((transcript) => transcript.length > 0)
          .map((transcript) => byDirection(transcript));
      t.same(flat(actual), flat(expected.map((transcript) => transcript.map(latin))), "transcript");
    });
  }
});

const latin = (line: string | string[]): string | string[] =>
  typeof line === "string" ? utf8(line) : line.map((text) => (/[^\x00-\xff]/.test(text) ? utf8(text) : text));

/** The client's lines in order, and the server's. */
const byDirection = (transcript: Transcript): unknown => ({
  client: transcript.filter((line) => typeof line !== "string" || line.startsWith("C:")),
  server: transcript.filter((line) => typeof line === "string" && line.startsWith("S:")),
});
