/**
 * What must hold whatever comes, tried with seeded random input (docs/security.md, known faults). Invariant 5, that what was accepted is queued, delivered
 * or bounced, is in queue/power_loss.test.ts, and in test/system with real processes.
 */
import assert from "node:assert/strict";
import t from "tap";
import { ContentWriter } from "../../cmd/smtp/content_writer.ts";
import { destinationLabel, endpointLabel, type LabelContext } from "../../cmd/smtp/labels.ts";
import { resolveAddress } from "../../cmd/trivial-rewrite/resolve.ts";
import { openSettings } from "../../cmd/trivial-rewrite/settings.ts";
import { usableId } from "../../cmd/virtual/mailbox.ts";
import { configurationFromText, installConfiguration } from "../../lib/config/configuration.ts";
import { decode, encode } from "../../lib/ipc/attributes.ts";
import { DeliveryReply, SENDOPT } from "../../lib/ipc/protocols/delivery.ts";
import { RESOLVE_FLAG } from "../../lib/ipc/protocols/rewrite.ts";
import { setLogSinks } from "../../lib/log/log.ts";
import { ChunkSplitter, type ContentSink, DataSplitter } from "../../lib/smtp/data_stream.ts";
import { decodeXtext, encodeXtext } from "../../lib/smtp/xtext.ts";
import { Random } from "../fuzz/random.ts";
import { type Dialogue, hangUpAll, Stage } from "./smtpd/harness.ts";

t.setTimeout(120_000);
t.teardown(hangUpAll);

const SEED = 20261129;
const QUIET = {
  smtpd_error_sleep_time: "0",
  smtpd_relay_restrictions: "reject_unauth_destination",
  smtpd_reject_unlisted_recipient: "no",
  smtpd_hard_error_limit: "100000",
  smtpd_soft_error_limit: "100000",
  smtpd_junk_command_limit: "100000",
  smtpd_client_connection_rate_limit: "0",
  smtpd_client_connection_count_limit: "0",
};
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Sends input and waits until a reply that is not continued is there, or the session has ended. */
async function ask(dialogue: Dialogue, input: string): Promise<string> {
  dialogue.output = "";
  if (!dialogue.closed) dialogue.channel.onData(Buffer.from(input, "latin1"));
  for (let turns = 0; turns < 3000 && !dialogue.closed; turns++) {
    if (/^\d{3} [^\n]*\n$/m.test(dialogue.output)) break;
    await (turns < 50 ? turn() : new Promise((resolve) => setTimeout(resolve, 1)));
  }
  return dialogue.output;
}

const recordsOf = (records: ReadonlyArray<string>, type: string): string[] =>
  records.filter((record) => record[0] === type).map((record) => record.slice(1));

t.test(
  "invariant 1: a recipient exists only inside a transaction with a sender, and nothing outlives its end",
  async (t) => {
    const random = new Random(SEED);
    const stage = await Stage.open({
      ...QUIET,
      smtpd_recipient_restrictions: "permit",
    });
    let commands = 0;
    let delivered = 0;
    for (let session = 0; session < 50; session++) {
      const dialogue = stage.connect("192.0.2.200");
      await ask(dialogue, "");
      await ask(dialogue, "EHLO x.test\r\n");
      const model = {
        sender: undefined as string | undefined,
        recipients: [] as string[],
        chunks: false,
        failed: false,
      };
      const reset = (): void => {
        model.sender = undefined;
        model.recipients = [];
        model.chunks = false;
      };
      for (let step = 0; step < 40 && !dialogue.closed; step++) {
        commands++;
        const name = `u${random.below(1000)}`;
        const kind = random.pick([
          "EHLO",
          "MAIL",
          "MAIL",
          "RCPT",
          "RCPT",
          "RCPT",
          "DATA",
          "DATA",
          "BDAT",
          "LAST",
          "RSET",
          "NOOP",
          "VRFY",
          "BAD",
          "RCPT BAD",
          "MAIL BAD",
        ]);
        const before = stage.messages.length;
        if (kind === "EHLO") {
          assert.match(await ask(dialogue, "EHLO x.test\r\n"), /^250-/);
          reset();
        } else if (kind === "MAIL") {
          const reply = await ask(dialogue, `MAIL FROM:<${name}@good.test>\r\n`);
          if (model.sender === undefined) {
            assert.match(reply, /^250 /);
            model.sender = `${name}@good.test`;
          } else assert.match(reply, /^503 5\.5\.1 Error: nested MAIL command/);
        } else if (kind === "RCPT") {
          const reply = await ask(dialogue, `RCPT TO:<${name}@mail.example.com>\r\n`);
          if (model.sender !== undefined && !model.chunks && /^250 /.test(reply)) model.recipients.push(name);
          else assert.match(reply, /^[45]/, "no recipient without a sender");
          if (model.sender === undefined) assert.match(reply, /^503 5\.5\.1 Error: need MAIL command/);
        } else if (kind === "DATA") {
          const reply = await ask(dialogue, "DATA\r\n");
          if (model.recipients.length > 0 && !model.chunks) {
            assert.match(reply, /^354 /);
            assert.match(await ask(dialogue, `Subject: ${name}\r\n\r\nx\r\n.\r\n`), /^250 2\.0\.0 Ok/);
            const message = stage.messages.at(-1);
            assert.ok(message?.ended);
            assert.deepEqual(recordsOf(message.records, "S"), [model.sender]);
            assert.deepEqual(recordsOf(message.records, "R").length, model.recipients.length);
            delivered++;
            reset();
          } else assert.match(reply, /^[45]/);
        } else if (kind === "BDAT" || kind === "LAST") {
          const reply = await ask(dialogue, `BDAT 3${kind === "LAST" ? " LAST" : ""}\r\nabc`);
          if (model.recipients.length === 0) {
            assert.match(reply, /^5/);
            // the rest of the chunks that were refused is nobody's
            assert.match(await ask(dialogue, "RSET\r\n"), /^250 /);
            reset();
            continue;
          }
          assert.match(reply, /^250 /);
          model.chunks = true;
          if (kind === "LAST") {
            const message = stage.messages.at(-1);
            assert.ok(message?.ended);
            assert.deepEqual(recordsOf(message.records, "S"), [model.sender]);
            assert.equal(recordsOf(message.records, "R").length, model.recipients.length);
            delivered++;
            reset();
          }
        } else if (kind === "RSET") {
          assert.match(await ask(dialogue, "RSET\r\n"), /^250 /);
          reset();
        } else {
          const line =
            {
              NOOP: "NOOP",
              VRFY: "VRFY u",
              BAD: `X${name}`,
              "RCPT BAD": "RCPT TO:<@@>",
              "MAIL BAD": "MAIL FROM:<a@b> X=y",
            }[kind] ?? "";
          assert.match(await ask(dialogue, `${line}\r\n`), /^[25]/);
        }
        if (model.sender === undefined)
          assert.ok(
            stage.messages.slice(before).every(({ ended, aborted }) => ended || aborted),
            "no file is left open",
          );
      }
      dialogue.channel.onEnd();
      await dialogue.finished;
    }
    t.ok(commands > 500 && delivered > 20, `${commands} commands, ${delivered} messages`);
  },
);

class Lines implements ContentSink {
  readonly pieces: Array<readonly [Buffer, boolean]> = [];
  record(whole: boolean, bytes: Buffer, start: number, end: number): void {
    this.pieces.push([Buffer.from(bytes.subarray(start, end)), whole]);
  }
}

t.test("invariant 2: the next hop sees as many ends of data as there are messages", async (t) => {
  const random = new Random(SEED);
  const parts = [
    "\r\n",
    "\n",
    "\r",
    ".",
    "..",
    "\r\n.\r",
    "\n.\n",
    "\r\n.\n",
    "\n.\r\n",
    "\0",
    "x",
    "MAIL FROM:<z@z>",
    "a".repeat(2047),
    "a".repeat(998),
  ];
  let bodies = 0;
  for (let round = 0; round < 4000; round++) {
    const body = Array.from({ length: 1 + random.below(12) }, () => random.pick(parts)).join("");
    const bytes = Buffer.from(body, "latin1");
    const sink = new Lines();
    const rules = { lineLimit: 2048, detectBareLf: random.chance(2) };
    const chunked = random.chance(3);
    if (chunked) {
      const splitter = new ChunkSplitter(sink, rules);
      const cut = random.below(bytes.length + 1);
      splitter.push(bytes.subarray(0, cut));
      splitter.push(bytes.subarray(cut));
      splitter.finish();
    } else {
      const splitter = new DataSplitter(sink, rules);
      const whole = Buffer.concat([bytes, Buffer.from("\r\n.\r\n")]);
      const cut = random.below(whole.length + 1);
      if (splitter.push(whole.subarray(0, cut)) < 0) splitter.push(whole.subarray(cut));
    }
    const writer = new ContentWriter(random.pick([0, 990]), () => undefined);
    let out = "";
    for (const [piece, last] of sink.pieces) {
      // cleanup's part: what is no line end is a blank
      writer.add(Buffer.from(piece.map((byte) => (byte === 13 || byte === 10 ? 32 : byte))), last);
      if (writer.full) out += writer.take().toString("latin1");
    }
    writer.endPiece();
    out += `${writer.take().toString("latin1")}.\r\n`;
    assert.equal(`\r\n${out}`.split("\r\n.\r\n").length - 1, 1, JSON.stringify(body));
    assert.doesNotMatch(out, /\r(?!\n)|(?<!\r)\n/, "line ends are CR LF");
    bodies++;
  }
  t.equal(bodies, 4000);
});

/** Text with much that means something somewhere. */
const hostile = (random: Random): string =>
  Array.from({ length: 1 + random.below(12) }, () =>
    random.chance(2)
      ? random.pick([
          "\n",
          "\r",
          "\0",
          "\t",
          "=",
          "+",
          "%",
          '"',
          "<",
          ">",
          "@",
          ";",
          "|",
          "$",
          "\x1b",
          "\x7f",
          "\\",
          " ",
        ])
      : String.fromCharCode(1 + random.below(255)),
  ).join("");

t.test(
  "invariant 3: text from outside is one field of one line, record, argument or attribute",
  async (t) => {
    const random = new Random(SEED);
    const stage = await Stage.open({
      ...QUIET,
      smtpd_recipient_restrictions: "permit",
    });
    let taken = 0;
    for (let round = 0; round < 150; round++) {
      stage.log.length = 0;
      const dialogue = stage.connect("192.0.2.200");
      await ask(dialogue, "");
      const word = hostile(random).replace(/[\r\n]/g, "");
      const coded = encodeXtext(hostile(random));
      if (!/^250/.test(await ask(dialogue, `EHLO ${word}\r\n`))) await ask(dialogue, "EHLO x.test\r\n");
      const sender = random.chance(2) ? `"${word.replace(/["\\]/g, "")}"` : "a";
      if (!/^250/.test(await ask(dialogue, `MAIL FROM:<${sender}@good.test> ENVID=${coded}\r\n`)))
        await ask(dialogue, "MAIL FROM:<a@good.test>\r\n");
      const before = stage.messages.length;
      const reply = await ask(dialogue, `RCPT TO:<user@mail.example.com> ORCPT=rfc822;${coded}\r\n`);
      assert.match(reply, /^(?:\d{3}[ -][^\r\n\0\x1b]*\r\n)+$|^$/);
      for (const line of stage.log) assert.doesNotMatch(line, /[\0-\x1f\x7f]/, "one line, nothing hidden");
      for (const { records } of stage.messages.slice(before)) {
        assert.equal(recordsOf(records, "S").length, 1);
        assert.ok(recordsOf(records, "R").length <= 1);
        taken++;
      }
      assert.doesNotMatch(encodeXtext(decodeXtext(coded) ?? ""), /[^!-~]/);
      dialogue.channel.onEnd();
      await dialogue.finished;
    }
    t.ok(taken > 20, `${taken} envelopes`);
  },
);

t.test("invariant 4: what was checked is what is used", async (t) => {
  const random = new Random(SEED);
  const stage = await Stage.open({
    ...QUIET,
    smtpd_recipient_restrictions: "permit",
  });
  let compared = 0;
  for (let round = 0; round < 60; round++) {
    const lines = Array.from({ length: 3 }, () => `x${hostile(random).replace(/[\r\n\0]/g, "")}`);
    const local = `u${random.pick(["+ext", '"q', "%h", "!b", "", "a.b"])}`.replace(/"/g, "");
    const dialogue = stage.connect("192.0.2.200");
    await ask(dialogue, "");
    await ask(dialogue, "EHLO x.test\r\n");
    await ask(dialogue, "MAIL FROM:<a@good.test>\r\n");
    if (!/^250/.test(await ask(dialogue, `RCPT TO:<${local}@mail.example.com>\r\n`))) {
      dialogue.channel.onEnd();
      continue;
    }
    await ask(dialogue, "DATA\r\n");
    assert.match(await ask(dialogue, `Subject: x\r\n\r\n${lines.join("\r\n")}\r\n.\r\n`), /^250 2/);
    const message = stage.messages.at(-1);
    assert.deepEqual(message?.content.slice(-3), lines, "each byte of the content");
    assert.deepEqual(recordsOf(message?.records ?? [], "R"), [`${local}@mail.example.com`]);
    compared++;
    dialogue.channel.onEnd();
    await dialogue.finished;
  }
  t.ok(compared > 30, `${compared} messages`);
});

t.test(
  "invariant 6: a table or helper that fails gives a temporary error, in every place that asks one",
  async (t) => {
    const lists: ReadonlyArray<readonly [parameter: string, value: string]> = [
      ...[
        "client",
        "reverse_client_hostname",
        "helo",
        "sender",
        "recipient",
        "sender_mx",
        "sender_a",
        "helo_a",
      ].map((what) => ["smtpd_recipient_restrictions", `check_${what}_access fail:x, permit`] as const),
      ["smtpd_recipient_restrictions", "check_policy_service inet:127.0.0.1:1, permit"],
      ["smtpd_recipient_restrictions", "permit_mynetworks, reject"],
      ["smtpd_relay_restrictions", "permit_mynetworks, reject"],
      ["local_recipient_maps", "fail:x"],
      ["virtual_alias_maps", "fail:x"],
      ["canonical_maps", "fail:x"],
      ["recipient_canonical_maps", "fail:x"],
    ];
    for (const [parameter, value] of lists) {
      const network = value.startsWith("permit_mynetworks");
      const stage = await Stage.open({
        ...QUIET,
        smtpd_recipient_restrictions: "permit",
        smtpd_policy_service_try_limit: "1",
        smtpd_policy_service_retry_delay: "1",
        smtpd_reject_unlisted_recipient: "yes",
        ...(network ? { mynetworks: "fail:x" } : {}),
        [parameter]: value,
      });
      const dialogue = stage.connect("192.0.2.200");
      await ask(dialogue, "");
      await ask(dialogue, "EHLO good.test\r\n");
      await ask(dialogue, "MAIL FROM:<a@good.test>\r\n");
      const reply = await ask(dialogue, "RCPT TO:<user@mail.example.com>\r\n");
      assert.match(reply, /^4\d\d /, `${parameter} = ${value}: ${reply}`);
      dialogue.channel.onEnd();
      await dialogue.finished;
      t.pass(`${parameter} = ${value}`);
    }
  },
);

t.test("invariant 6: trivial-rewrite says that it could not find out", async (t) => {
  for (const name of [
    "mydestination",
    "virtual_alias_domains",
    "virtual_mailbox_domains",
    "relay_domains",
    "transport_maps",
    "sender_dependent_relayhost_maps",
    "sender_dependent_default_transport_maps",
    "relocated_maps",
  ]) {
    const text = `myhostname = mail.example.com\nmydomain = example.com\nmydestination =\nrelay_domains =\n${name} = fail:x\n`;
    setLogSinks([]);
    installConfiguration(configurationFromText(text, { processName: "trivial-rewrite" }));
    const settings = await openSettings();
    const { flags } = await resolveAddress("a@good.test", "u@far.test", settings.route, settings.resolve);
    t.ok((flags & RESOLVE_FLAG.fail) !== 0, name);
  }
});

t.test("invariant 7: a kept connection is found again only by who asks for the same", async (t) => {
  const random = new Random(SEED);
  const UTF8 = SENDOPT.smtputf8Requested | SENDOPT.smtputf8Sender;
  const context = (): LabelContext => ({
    service: random.pick(["smtp", "relay", "*", ""]),
    nexthop: random.pick(["a.test", "[a.test]", "[a.test]:25", "a.test\nb", "*", "", "YQ=="]),
    tlsLevel: random.pick(["none", "may"]),
    sendopts: random.pick([0, SENDOPT.requireTls, UTF8, UTF8 | SENDOPT.requireTls]),
  });
  const labels = new Map<string, string>();
  for (let round = 0; round < 5000; round++) {
    const asked = context();
    const server = { address: random.pick(["192.0.2.1", "192.0.2.2", "::1"]), port: random.pick([25, 24]) };
    for (const [label, key] of [
      [`d${destinationLabel(asked)}`, JSON.stringify(asked)],
      [`e${endpointLabel(asked, server)}`, JSON.stringify([{ ...asked, nexthop: "" }, server])],
    ] as const) {
      const known = labels.get(label);
      if (known === undefined) labels.set(label, key);
      else assert.equal(known, key, label);
    }
  }
  t.ok(labels.size > 100, `${labels.size} labels`);
});

t.test("invariant 8: no table makes a delivery run as somebody above the owner of the data", async (t) => {
  const random = new Random(SEED);
  let usable = 0;
  for (let round = 0; round < 20_000; round++) {
    const text = random.chance(3)
      ? String(random.word())
      : Array.from({ length: random.below(8) }, () => random.pick([..."0123456789- +ex.\n\0\u0661"])).join(
          "",
        ) + random.pick(["", "4294967295", "4294967296", "18446744073709551616", "0", "1000"]);
    const least = random.pick([1, 100, 1000]);
    const id = usableId(text, least);
    if (id === undefined) continue;
    usable++;
    assert.match(text, /^[0-9]+$/);
    assert.ok(id >= least && id < 0xffffffff && BigInt(text) === BigInt(id), text);
  }
  t.ok(usable > 1000, `${usable} usable`);
});

t.test("invariant 9: what a session keeps does not grow with what it is sent", async (t) => {
  const random = new Random(SEED);
  const stage = await Stage.open({
    ...QUIET,
    notify_classes: "protocol",
    smtpd_recipient_restrictions: "permit",
    smtpd_forbid_unauth_pipelining: "no",
    smtpd_forbidden_commands: "",
  });
  const pieces = [
    "x".repeat(2500),
    "NOOP\r\n",
    "\r\n".repeat(50),
    "MAIL FROM:<a@b.test>\r\n",
    "RSET\r\n".repeat(100),
    `RCPT TO:<${"a".repeat(900)}@b.test>\r\n`,
    "\0".repeat(1000),
    `BDAT 1\r\nx`,
    "EHLO x.test\r\n",
  ];
  let [sent, peak] = [0, 0];
  for (let session = 0; session < 40; session++) {
    const dialogue = stage.connect("192.0.2.200");
    await ask(dialogue, "");
    for (let round = 0; round < 100 && !dialogue.closed; round++) {
      const piece = random.pick(pieces);
      dialogue.output = "";
      dialogue.channel.onData(Buffer.from(piece, "latin1"));
      sent += piece.length;
      for (let turns = 0; turns < 5; turns++) await turn();
      peak = Math.max(peak, dialogue.channel.buffered + dialogue.session.chat.history.join("").length);
    }
    dialogue.channel.onEnd();
    await dialogue.finished;
  }
  t.ok(sent > 500_000, `${sent} bytes`);
  t.ok(peak < 150_000, `${peak} bytes kept at most`);
});

t.test("invariant 10: a peer may stop, vanish or lie at any byte", async (t) => {
  const stage = await Stage.open({
    ...QUIET,
    smtpd_recipient_restrictions: "permit",
  });
  const input = Buffer.from(
    "EHLO x.test\r\nMAIL FROM:<a@good.test>\r\nRCPT TO:<user@mail.example.com>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\nMAIL FROM:<a@good.test>\r\nRCPT TO:<user@mail.example.com>\r\nBDAT 5\r\nabc\r\nBDAT 4 LAST\r\nde\r\nQUIT\r\n",
    "latin1",
  );
  for (let end = 0; end <= input.length; end++) {
    stage.messages.length = 0;
    const dialogue = stage.connect("192.0.2.200");
    await ask(dialogue, "");
    dialogue.output = "";
    // a line at a time: the group ends where it must
    for (let at = 0; at < end; ) {
      const next = Math.min(end, input.indexOf("\n", at) + 1 || end);
      dialogue.channel.onData(Buffer.from(input.subarray(at, next)));
      at = next;
      for (let turns = 0; turns < 4; turns++) await turn();
    }
    dialogue.channel.onEnd();
    await dialogue.finished;
    const promised = dialogue.output.match(/^250 2\.0\.0 Ok: (?:\d+ bytes )?queued/gm)?.length ?? 0;
    assert.equal(stage.messages.filter(({ ended }) => ended).length, promised, `after ${end} bytes`);
    assert.ok(
      stage.messages.every(({ ended, aborted }) => ended || aborted),
      `after ${end} bytes`,
    );
  }
  const random = new Random(SEED);
  const reply = Buffer.from(
    encode(DeliveryReply, {
      dsnStatus: "2.0.0",
      diagnosticType: "smtp",
      diagnosticText: "250 ok",
      mtaType: "dns",
      mtaName: "mx.test",
      action: "relayed",
      reason: "ok",
      status: 0,
    }),
    "latin1",
  );
  for (let end = 0; end < reply.length; end++)
    assert.notEqual(decode(DeliveryReply, reply.subarray(0, end)).kind, "value", `${end} bytes of a reply`);
  for (let round = 0; round < 3000; round++) {
    const lie = Buffer.from(reply);
    lie[random.below(lie.length)] = random.below(256);
    assert.ok(["value", "bad", "more", "end"].includes(decode(DeliveryReply, lie).kind));
  }
  t.pass(`${input.length} ends of a session, ${reply.length} of a reply`);
});
