/** More of what mail servers got wrong: state, bounds, identities, and servers beside us that speak nonsense. */
import t from "tap";
import { Counters } from "../../../cmd/anvil/counters.ts";
import { statistics } from "../../../cmd/anvil/statistics.ts";
import { type Dialogue, hangUpAll, type MemoryStream, type Stage } from "./harness.ts";
import { type Exchange, Peers } from "./peers.ts";
import { begin, envelope, line, pause, say } from "./talk.ts";

t.teardown(hangUpAll);

const linesOf = (message: MemoryStream | undefined): string[] => message?.content ?? [];

t.test("SMTPD-12: a chunk goes to the queue as it comes", async (t) => {
  const [stage, dialogue] = await begin();
  await envelope(dialogue);
  await say(dialogue, "BDAT 500000\r\n");
  for (let part = 0; part < 4; part++) {
    await say(dialogue, `${"x".repeat(998)}\r\n`.repeat(100));
    t.ok(linesOf(stage.messages[0]).length >= part * 100, "written before the chunk is whole");
    t.equal(dialogue.channel.buffered, 0);
  }
  t.match(await say(dialogue, `${"x".repeat(998)}\r\n`.repeat(100)), /^250 2\.0\.0 Ok: 500000 bytes/);
});

t.test("SMTPD-13: the transcript is bounded within one message", async (t) => {
  const [stage, dialogue] = await begin({ notify_classes: "protocol", smtpd_history_flush_threshold: "20" });
  await envelope(dialogue);
  for (let round = 0; round < 50; round++) await say(dialogue, "BDAT 1\r\nx");
  t.ok(dialogue.session.chat.history.length <= 22);
  await line(dialogue, "FOO");
  await line(dialogue, "QUIT");
  t.equal(stage.notices.length, 1);
  t.ok((stage.notices[0]?.lines.length ?? 99) <= 35);
  const [, silent] = await begin({ notify_classes: "" });
  await line(silent, "FOO");
  t.same(silent.session.chat.history, []);
});

t.test("SMTPD-15: empty chunks", async (t) => {
  const [, dialogue] = await begin();
  await envelope(dialogue);
  t.match(await say(dialogue, "BDAT 5\r\nabc\r\n"), /^250 2\.0\.0 Ok: 5 bytes/);
  t.equal(await line(dialogue, "BDAT 0 LAST"), "250 2.0.0 Ok: 5 bytes queued as QUEUEID");
});

t.test("SMTPD-16: DATA, RCPT and MAIL within chunks", async (t) => {
  const [stage, dialogue] = await begin();
  await envelope(dialogue);
  await say(dialogue, "BDAT 3\r\nabc");
  t.equal(await line(dialogue, "DATA"), "503 5.5.1 Error: DATA after BDAT");
  t.equal(await line(dialogue, "RCPT TO:<user2>"), "503 5.5.1 Error: RCPT after BDAT");
  t.equal(await line(dialogue, "MAIL FROM:<b@good.test>"), "503 5.5.1 Error: nested MAIL command");
  t.equal(await say(dialogue, "BDAT 3 LAST\r\ndef"), "250 2.0.0 Ok: 8 bytes queued as QUEUEID\r\n");
  t.ok(linesOf(stage.messages[0]).includes("abcdef"));
});

t.test("SMTPD-22: a recipient that looks like an option", async (t) => {
  const [, dialogue] = await begin();
  await line(dialogue, "MAIL FROM:<a@good.test>");
  t.equal(await line(dialogue, "RCPT TO:<-oQ@mail.example.com>"), "501 5.1.3 Bad recipient address syntax");
});

t.test("SMTPD-25: a byte at a time", async (t) => {
  const config = { smtpd_timeout: "1s", smtpd_per_request_deadline: "yes", smtpd_min_data_rate: "100" };
  const [stage, dialogue] = await begin(config);
  const drip = async (bytes: number, every: number, times: number): Promise<void> => {
    for (let i = 0; i < times && !dialogue.closed; i++) {
      dialogue.channel.onData(Buffer.from("x".repeat(bytes)));
      await pause(every);
    }
  };
  await envelope(dialogue);
  await line(dialogue, "DATA");
  await drip(60, 200, 8);
  t.equal(dialogue.closed, false, "fast enough");
  t.match(await say(dialogue, "\r\n.\r\n"), /^250/);
  await drip(1, 150, 12);
  t.equal(dialogue.closed, true, "a command in pieces");
  t.ok(stage.log.some((text) => /timeout after END-OF-MESSAGE/.test(text)));
});

t.test("SMTPD-29: a name that does not lead back is no name", async (t) => {
  const config = {
    smtpd_client_restrictions: "check_client_access inline:{ {forged.example.net = OK} }, reject",
  };
  const [stage, dialogue] = await begin(config, "192.0.2.11");
  await line(dialogue, "MAIL FROM:<a@good.test>");
  t.match(
    await line(dialogue, "RCPT TO:<user>"),
    /^554 5\.7\.1 <unknown\[192\.0\.2\.11\]>: Client host rejected/,
  );
  t.match(stage.log[0], /^warning: hostname forged\.example\.net does not resolve to address 192\.0\.2\.11/);
  const [, other] = await begin({
    smtpd_sender_restrictions: "check_sender_mx_access inline:{ {mx.good.test = OK} }",
  });
  await line(other, "MAIL FROM:<a@good.test>");
  t.equal(await line(other, "RCPT TO:<user>"), "451 4.3.5 Server configuration error");
});

t.test("SMTPD-32: addresses of one network are one client", async (t) => {
  let now = 1_000_000;
  const counters = new Counters(60_000, () => now);
  const hex = (value: number): string => value.toString(16);
  for (let i = 0; i < 1000; i++) {
    const client = counters.entry("smtp:2001:db8::/84");
    counters.connect(client);
    counters.event(client, "connection");
    counters.disconnect(client);
  }
  t.match(statistics(counters, 60).at(-1), /^statistics: max cache size 1 at /);
  for (let i = 0; i < 1000; i++) {
    const client = counters.entry(`smtp:2001:db8:0:0:${hex(i)}::/84`);
    counters.connect(client);
    counters.disconnect(client);
  }
  t.equal(counters.size, 1001);
  now += 120_000;
  counters.sweep();
  t.equal(counters.size, 0);
});

t.test("SMTPD-35: free space", async (t) => {
  // the harness has 20091824 blocks of 4096 bytes
  const blocks = 20_091_824;
  const minimum = (count: number) => ({ queue_minfree: String(count * 4096), message_size_limit: "0" });
  const [, enough] = await begin(minimum(blocks - 1));
  t.match(await line(enough, "MAIL FROM:<a@good.test>"), /^250/);
  const [, short] = await begin(minimum(blocks));
  t.equal(await line(short, "MAIL FROM:<a@good.test>"), "452 4.3.1 Insufficient system storage");
  const large = (count: number) => ({ message_size_limit: String(count * 4096) });
  const [, fits] = await begin(large(Math.floor(blocks / 1.5) - 1));
  t.match(await line(fits, "MAIL FROM:<a@good.test>"), /^250/);
  const [, big] = await begin(large(Math.ceil(blocks / 1.5)));
  t.equal(await line(big, "MAIL FROM:<a@good.test>"), "452 4.3.1 Insufficient system storage");
});

/** A session whose policy server says one thing to each request; the requests as they came. */
async function withPolicy(reply: string): Promise<{ dialogue: Dialogue; stage: Stage; heard: string[] }> {
  const [stage, dialogue] = await begin({
    smtpd_recipient_restrictions: "check_policy_service inet:127.0.0.1:14000",
    smtpd_policy_service_retry_delay: "1s",
    smtpd_policy_service_try_limit: "1",
  });
  const heard: string[] = [];
  stage.peers = new Peers([{ port: 14000, connections: [[{ request: [] }, { reply }]] }], (text) => {
    heard.push(text);
  });
  return { dialogue, stage, heard };
}

t.test("SMTPD-38: nothing gets out of its attribute", async (t) => {
  const { dialogue, heard } = await withPolicy("action=dunno\n\n");
  await line(dialogue, "HELO a\tb\vc=\xe2\x80\xa8d e");
  await line(dialogue, 'MAIL FROM:<"a\rrecipient=x"@good.test>');
  await line(dialogue, "RCPT TO:<user>");
  const [request = ""] = heard;
  const names = request.split("\n").map((text) => text.split("=", 1)[0]);
  t.equal(names.length, 32);
  t.equal(new Set(names).size, 32);
  t.match(request, /\nhelo_name=a\?b\?c=\u00e2\u0080\u00a8d\?e\n/);
});

t.test("SMTPD-38: what a policy server may say", async (t) => {
  const problem =
    /^451 4\.3\.5 <user@mail\.example\.com>: Recipient address rejected: Server configuration problem$/;
  const answers: ReadonlyArray<readonly [string, RegExp]> = [
    ["foo=bar\n\n", problem],
    ["\n", problem],
    ["no equals sign\n\n", problem],
    ["action=reject one\naction=dunno\n\n", /^554 5\.7\.1 .* one$/],
    ["foo=bar\naction=reject two\n\n", /^554 5\.7\.1 .* two$/],
    ["action=FOO\n\n", /^451 4\.3\.5 Server configuration error$/],
    [`action=${"r".repeat(9000)}\n\n`, /^451 4\.3\.5 Server configuration error$/],
    ["action=reject a\rb\x1bc\n\n", /^554 5\.7\.1 .*: a b c$/],
    ["action=reject \xff\n\n", problem],
  ];
  for (const [reply, want] of answers) {
    const { dialogue } = await withPolicy(reply);
    await line(dialogue, "MAIL FROM:<a@good.test>");
    t.match(
      await line(dialogue, "RCPT TO:<user@mail.example.com>"),
      want,
      JSON.stringify(reply.slice(0, 40)),
    );
  }
  const { dialogue, stage } = await withPolicy("action=\n\n");
  await line(dialogue, "MAIL FROM:<a@good.test>");
  t.match(await line(dialogue, "RCPT TO:<user@mail.example.com>"), /^250/);
  t.ok(stage.log.some((text) => /^warning: .* has empty value$/.test(text)));
});

const GOOD: Exchange["connections"][number] = [
  { filter: "220 filter" },
  { smtpd: "EHLO mail.example.com" },
  { filter: "250 filter" },
  { smtpd: "MAIL FROM:<a@good.test>" },
  { filter: "250 Ok" },
  { smtpd: "RCPT TO:<user@mail.example.com>" },
  { filter: "250 Ok" },
  { smtpd: "DATA" },
  { filter: "354 go" },
];

/** A session with a filter that says what it is told to, up to some point. */
async function withFilter(
  turns: Exchange["connections"][number],
  config: Record<string, string> = {},
): Promise<[Stage, Dialogue]> {
  const [stage, dialogue] = await begin({ smtpd_proxy_filter: "127.0.0.1:14000", ...config });
  stage.peers = new Peers([{ port: 14000, connections: [turns] }]);
  return [stage, dialogue];
}

const FAILED = "451 4.3.0 Error: queue file write error";

t.test("PRX-04: mailbox lines count, and a line of a megabyte is a line", async (t) => {
  for (const content of ["From x\r\n".repeat(5000), `From ${"x".repeat(1_000_000)}\r\n`]) {
    const [stage, dialogue] = await withFilter(GOOD, { message_size_limit: "20000" });
    await envelope(dialogue);
    await line(dialogue, "DATA");
    t.equal(await say(dialogue, `${content}.\r\n`), "552 5.3.4 Error: message file too big\r\n");
    t.ok(
      stage.log.some((text) =>
        text.startsWith(
          "proxy-reject: END-OF-MESSAGE: 552 5.3.4 Error: message file too big; from=<a@good.test>",
        ),
      ),
    );
    t.match(await line(dialogue, "MAIL FROM:<a@good.test>"), /^250/);
  }
});

t.test("PRX-05: a filter that speaks nonsense, or dies", async (t) => {
  const answers: ReadonlyArray<readonly [filter: string, reply: string]> = [
    ["hello\r\n250 Ok", FAILED],
    ["250-one\r\n550 two", FAILED],
    ["550-one\r\n250 two", FAILED],
    ["354 go", FAILED],
    ["250", "250"],
    ["550-5.7.1 no\r\n550 5.7.1 never", "550-5.7.1 no\r\n550 5.7.1 never"],
    ["250 Ok\r\n250 Ok", "250 Ok"],
    ["999 what", FAILED],
  ];
  for (const [filter, reply] of answers) {
    const [, dialogue] = await withFilter([
      ...GOOD,
      ...["hi", "."].map((smtpd) => ({ smtpd })).slice(1),
      { filter },
    ]);
    await envelope(dialogue);
    t.match(await line(dialogue, "DATA"), /^354/);
    t.equal(await line(dialogue, "."), reply, JSON.stringify(filter));
    t.equal(await line(dialogue, "NOOP"), "250 2.0.0 Ok");
  }
  for (const length of [1, 3, 5, 7]) {
    const [, dialogue] = await withFilter(GOOD.slice(0, length).concat(GOOD.slice(length, length + 1)));
    await line(dialogue, "MAIL FROM:<a@good.test>");
    const reply = await line(dialogue, "RCPT TO:<user@mail.example.com>");
    t.equal(length < 7 ? reply : await line(dialogue, "DATA"), FAILED, `cut off after ${length}`);
    t.equal(await line(dialogue, "RSET"), "250 2.0.0 Ok");
  }
});
