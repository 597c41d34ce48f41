import t from "tap";
import { hangUpAll, Stage } from "./harness.ts";
import { begin, envelope, line, say } from "./talk.ts";

t.teardown(hangUpAll);

t.test("SMTPD-01: recipients do not survive a failed BDAT", async (t) => {
  const failures: Array<[config: Record<string, string>, input: string, replies: RegExp]> = [
    [
      {},
      "BDAT 0\r\nBDAT 3 LAST\r\nabc",
      /^551 5\.7\.1 Null BDAT request\r\n551 5\.0\.0 Discarded 3 bytes after earlier error\r\n$/,
    ],
    [
      { message_size_limit: "20" },
      `BDAT 25 LAST\r\n${"x".repeat(25)}`,
      /^552 5\.3\.4 Chunk exceeds message size limit\r\n$/,
    ],
    [{ smtpd_data_restrictions: "reject" }, "BDAT 3 LAST\r\nabc", /^554 5\.7\.1 <DATA>/],
  ];
  for (const [config, input, replies] of failures) {
    const [stage, dialogue] = await begin(config);
    await envelope(dialogue);
    t.match(await say(dialogue, input), replies);
    t.equal(stage.messages.at(-1)?.aborted, true);
    t.equal(await line(dialogue, "DATA"), "503 5.5.1 Error: need RCPT command");
    t.equal(await line(dialogue, "RCPT TO:<user@mail.example.com>"), "503 5.5.1 Error: need MAIL command");
    t.equal(await line(dialogue, "MAIL FROM:<a@good.test>"), "250 2.1.0 Ok");
    t.equal(await line(dialogue, "RCPT TO:<user@mail.example.com>"), "250 2.1.5 Ok");
  }
});

t.test("SMTPD-02: nothing is left after an end-of-data reject", async (t) => {
  const [, dialogue] = await begin({
    smtpd_end_of_data_restrictions: "check_recipient_access static:reject",
  });
  await envelope(dialogue);
  await line(dialogue, "DATA");
  t.equal(
    await line(dialogue, "hi\r\n."),
    "554 5.7.1 <user@mail.example.com>: Recipient address rejected: Access denied",
  );
  t.equal(await line(dialogue, "RCPT TO:<user@mail.example.com>"), "503 5.5.1 Error: need MAIL command");
  t.equal(await line(dialogue, "DATA"), "503 5.5.1 Error: need RCPT command");
});

t.test("SMTPD-03: VRFY leaves the transaction alone", async (t) => {
  const [stage, dialogue] = await begin();
  await envelope(dialogue);
  t.match(await line(dialogue, "VRFY <pel\xc3\xa9@elsewhere.test>"), /^252 /);
  t.match(await line(dialogue, "DATA"), /^354 /);
  t.equal(await line(dialogue, "hi\r\n."), "250 2.0.0 Ok: queued as QUEUEID");
  t.equal(stage.messages.length, 1);
  t.equal(await line(dialogue, "DATA"), "503 5.5.1 Error: need RCPT command");
});

t.test("SMTPD-04: a refused recipient does not end the transaction", async (t) => {
  const [stage, dialogue] = await begin({ strict_smtputf8: "yes" });
  await envelope(dialogue);
  t.match(await line(dialogue, "RCPT TO:<\xc3\xa9@mail.example.com>"), /^553 /);
  t.match(await line(dialogue, "RCPT TO:<user2@mail.example.com>"), /^250 /);
  t.match(await line(dialogue, "DATA"), /^354 /);
  t.equal(stage.messages[0]?.records.filter((record) => record[0] === "R").length, 2);
});

t.test("SMTPD-05: errors are forgiven with a message", async (t) => {
  const [, dialogue] = await begin({ smtpd_hard_error_limit: "3", smtpd_junk_command_limit: "5" });
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 5; i++) t.match(await line(dialogue, "NOOP"), /^250/);
    await envelope(dialogue);
    await line(dialogue, "DATA");
    t.match(await line(dialogue, "hi\r\n."), /^250/);
  }
});

t.test("SMTPD-06 SMTPD-07: one message whatever surrounds its dots", async (t) => {
  for (const around of ["\n.\n", "\r\n.\n", "\n.\r\n", "\r\n.\r\r\n"]) {
    const text = `a${around}MAIL FROM:<b@example.org>\r\n.\r\n`;
    for (const pieces of [1, 2, 3, 0]) {
      const [stage, dialogue] = await begin({}, "192.0.2.10");
      await envelope(dialogue);
      await line(dialogue, "DATA");
      t.equal(
        await say(dialogue, text, pieces),
        "250 2.0.0 Ok: queued as QUEUEID\r\n",
        `${JSON.stringify(around)} in ${pieces}`,
      );
      t.ok(stage.messages[0]?.content.includes("MAIL FROM:<b@example.org>"));
    }
  }
  const [, dialogue] = await begin({ smtpd_forbid_bare_newline: "reject" }, "192.0.2.10");
  await envelope(dialogue);
  await line(dialogue, "DATA");
  t.equal(
    await say(dialogue, "a\n.\nb\r\n.\r\n"),
    "550 5.5.2 mail.example.com Error: bare <LF> received\r\n",
  );
  t.match(await line(dialogue, "NOOP"), /^250/);
});

t.test("bare LF in a chunk is refused with that chunk", async (t) => {
  const [, dialogue] = await begin({ smtpd_forbid_bare_newline: "reject" }, "192.0.2.10");
  await envelope(dialogue);
  t.equal(
    await say(dialogue, "BDAT 4\r\na\nb\n"),
    "550 5.5.2 mail.example.com Error: bare <LF> received\r\n",
  );
  t.equal(await say(dialogue, "BDAT 1 LAST\r\nx"), "551 5.0.0 Discarded 1 bytes after earlier error\r\n");
  t.equal(await line(dialogue, "DATA"), "503 5.5.1 Error: need RCPT command");
});

t.test("a stuffed dot hides what a first line looks like", async (t) => {
  const [stage, dialogue] = await begin();
  await envelope(dialogue);
  await line(dialogue, "DATA");
  await line(dialogue, ".From x\r\n.");
  t.equal(stage.messages[0]?.content.at(-1), "From x");
});

t.test("SMTPD-09: commands before their time", async (t) => {
  for (const input of [
    "EHLO x\r\nMAIL FROM:<>\r\n",
    "HELO x\r\nMAIL FROM:<>\r\n",
    "NOOP\r\nNOOP\r\n",
    "VRFY u\r\nRSET\r\n",
  ]) {
    const [, dialogue] = await begin();
    t.equal(await say(dialogue, input), "554 5.5.0 Error: SMTP protocol synchronization\r\n", input);
    t.ok(dialogue.closed);
  }
  const [, dialogue] = await begin();
  t.equal(await say(dialogue, "RSET\r\nRSET\r\n"), "250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n");
  t.match(await say(dialogue, "HELP\r\nRSET\r\n"), /^214 .*\r\n250 2\.0\.0 Ok\r\n$/);
  t.equal(await say(dialogue, "QUIT\r\nRSET\r\n"), "221 2.0.0 Bye\r\n");
  const early = (await Stage.open({})).connect("192.0.2.10");
  t.equal(await say(early, "EHLO x\r\n"), "554 5.5.0 Error: SMTP protocol synchronization\r\n");
});

t.test("SMTPD-10 SMTPD-11: endless input is bounded", async (t) => {
  const [stage, dialogue] = await begin();
  const replies = await say(dialogue, "x".repeat(2_600_000));
  t.equal(replies, "500 5.5.2 mail.example.com Error: command too long\r\n");
  t.ok(dialogue.closed);
  t.ok(stage.log.includes("NOQUEUE: lost connection after EHLO from localhost[127.0.0.1]"));
  for (const count of ["9223372036854775807", "9007199254740993", "4294967301"]) {
    const [, other] = await begin({ message_size_limit: "20000" });
    await envelope(other);
    t.equal(await line(other, `BDAT ${count} LAST`), "552 5.3.4 Chunk exceeds message size limit");
    t.ok(other.closed);
  }
});

t.test("SMTPD-14: BDAT arithmetic", async (t) => {
  for (const bad of ["x", "-1", "+5", "5abc", "5.0", "0x5", "1e1", "5 LA\xc5\xbfT", "18446744073709551616"]) {
    const [, dialogue] = await begin();
    t.equal(await line(dialogue, `BDAT ${bad}`), "521 5.5.4 Syntax: BDAT count [LAST]", bad);
    t.ok(dialogue.closed);
  }
  const [stage, dialogue] = await begin();
  await envelope(dialogue);
  t.equal(await say(dialogue, "BDAT 05\r\nabc\r\n"), "250 2.0.0 Ok: 5 bytes\r\n");
  t.equal(await say(dialogue, "BDAT 0 LAST\r\n"), "250 2.0.0 Ok: 5 bytes queued as QUEUEID\r\n");
  t.same(stage.messages[0]?.content.at(-1), "abc");
});

t.test("SMTPD-17: SIZE values", async (t) => {
  const [, dialogue] = await begin();
  const reply = (value: string): Promise<string> => line(dialogue, `MAIL FROM:<a@good.test> SIZE=${value}`);
  t.equal(await reply("9007199254740993"), "552 5.3.4 Message size exceeds fixed limit");
  t.equal(await reply("99999999999999999999"), "552 5.3.4 Message size exceeds file system imposed limit");
  for (const bad of ["-1", "0x10", "1e9", "", "\xef\xbc\x91"])
    t.equal(await reply(bad), "501 5.5.4 Bad message size syntax");
  t.equal(await reply(`${"0".repeat(39)}1`), "250 2.1.0 Ok");
});

t.test("SMTPD-18: hidden line breaks stay inside their record", async (t) => {
  const [stage, dialogue] = await begin();
  t.match(await line(dialogue, "MAIL FROM:<a@good.test> ENVID=a+0Ab"), /^501/);
  await line(dialogue, "MAIL FROM:<a@good.test> ENVID=a+09b");
  t.match(await line(dialogue, "RCPT TO:<user@mail.example.com> ORCPT=rfc822;u+00X"), /^501/);
  t.match(
    await line(dialogue, "RCPT TO:<user@mail.example.com> ORCPT=rfc822;u+0AX-Inj:+20yes NOTIFY=FAILURE"),
    /^250/,
  );
  const records = stage.messages[0]?.records ?? [];
  t.ok(records.includes("Aenvelope_id=a\tb"));
  t.ok(records.includes("Adsn_orig_rcpt=rfc822;u\nX-Inj: yes"));
  t.ok(records.includes("Anotify_flags=4"));
});

t.test("SMTPD-19 SMTPD-20 SMTPD-21: addresses that mean something else", async (t) => {
  const [, dialogue] = await begin({ smtpd_relay_restrictions: "reject_unauth_destination" }, "192.0.2.10");
  await line(dialogue, "MAIL FROM:<a@good.test>");
  for (const path of [
    '<"u@evil.example"@localhost>',
    "<u@evil.example@localhost>",
    "<u%evil.example@localhost>",
    '<"u\\@evil.example"@localhost>',
    "<@localhost:u@evil.example>",
    "<evil.example!u@localhost>",
  ])
    t.match(await line(dialogue, `RCPT TO:${path}`), /^554 5\.7\.1 .*: Relay access denied$/, path);
  for (const path of [
    "<u@local\xef\xbd\x88ost>",
    "<u@localhost\xe3\x80\x82>",
    "<u@localhost..>",
    "<u@[0x7f.1]>",
    "<!>",
    "<\\>",
    '<"">',
    "<.!>",
  ])
    t.equal(await line(dialogue, `RCPT TO:${path}`), "501 5.1.3 Bad recipient address syntax", path);
});

t.test("SMTPD-23 SMTPD-24: malformed bytes and foreign protocols", async (t) => {
  const [, dialogue] = await begin();
  for (const bad of ["MAIL FROM:<pel\xe9@localhost>", "NOOP \xc0\xaf", "NOOP \xed\xa0\x80"])
    t.equal(await line(dialogue, bad), "500 5.5.2 Error: bad UTF-8 syntax");
  t.equal(await line(dialogue, "NOOP a\0b"), "250 2.0.0 Ok");
  t.equal(await line(dialogue, "MAIL FROM:<a@good.test>\0<b@c>"), "250 2.1.0 Ok");
  t.equal(await line(dialogue, "rset"), "250 2.0.0 Ok");
  t.equal(await line(dialogue, "__proto__"), "500 5.5.2 Error: command not recognized");
  for (const foreign of ["GET / HTTP/1.0", "POST /", "CONNECT a:25", "Subject: x"]) {
    const [, other] = await begin();
    t.equal(await line(other, foreign), "221 2.7.0 Error: I can break rules, too. Goodbye.", foreign);
    t.ok(other.closed);
  }
});

t.test("SMTPD-26 SMTPD-27: text from tables", async (t) => {
  const reply = async (value: string): Promise<string> => {
    const [, dialogue] = await begin(
      { smtpd_sender_restrictions: `check_sender_access static:{${value}}` },
      "192.0.2.10",
    );
    await line(dialogue, "MAIL FROM:<a@good.test>");
    return line(dialogue, "RCPT TO:<user@mail.example.com>");
  };
  const head = "<a@good.test>: Sender address rejected:";
  t.equal(await reply("REJECT 5.7.2"), `554 5.7.2 ${head} Access denied`);
  t.equal(await reply("REJECT 5.7."), `554 5.7.1 ${head} 5.7.`);
  t.equal(await reply("REJECT 9.9.9 x"), `554 5.7.1 ${head} 9.9.9 x`);
  t.equal(await reply("REJECT 4.7.1 x"), `554 5.7.1 ${head} x`);
  t.equal(await reply("DEFER 5.2.1 z"), `450 4.2.1 ${head} z`);
  t.equal(await reply("550 5.7.2"), `550 5.7.2 ${head} Access denied`);
  t.equal(await reply("450"), "250 2.1.5 Ok");
  t.equal(await reply("FOO bar"), "451 4.3.5 Server configuration error");
  const long = await reply(`REJECT ${"x".repeat(5000)}`);
  t.equal(long.length, 510);
});

t.test("SMTPD-28: a broken restriction is not skipped", async (t) => {
  const [stage, dialogue] = await begin({
    smtpd_client_restrictions: "chekc_client_access static:x, permit",
  });
  await line(dialogue, "MAIL FROM:<a@good.test>");
  t.equal(await line(dialogue, "RCPT TO:<user@mail.example.com>"), "451 4.3.5 Server configuration error");
  t.ok(stage.log.includes('warning: unknown smtpd restriction: "chekc_client_access"'));
  const [looping, other] = await begin({
    smtpd_restriction_classes: "loop",
    loop: "loop",
    smtpd_client_restrictions: "loop",
  });
  await line(other, "MAIL FROM:<a@good.test>");
  t.equal(await line(other, "RCPT TO:<user@mail.example.com>"), "451 4.3.5 Server configuration error");
  t.ok(looping.log.some((text) => text.includes("causes unreasonable recursion")));
});

t.test("SMTPD-34: the verdict about a message leaves before the next command", async (t) => {
  const [, dialogue] = await begin();
  await envelope(dialogue);
  await line(dialogue, "DATA");
  dialogue.writes = 0;
  t.equal(await say(dialogue, "hi\r\n.\r\nQUIT\r\n"), "250 2.0.0 Ok: queued as QUEUEID\r\n221 2.0.0 Bye\r\n");
  t.equal(dialogue.writes, 2);
});

t.test("a client that goes away within a line that is too long, after many commands", async (t) => {
  // the last of the commands that are worked on without a pause
  for (const before of [48, 49, 50]) {
    const [stage, dialogue] = await begin();
    const unhandled: unknown[] = [];
    const note = (error: unknown): void => void unhandled.push(error);
    process.on("unhandledRejection", note);
    dialogue.channel.onData(Buffer.from("RSET\r\n".repeat(before) + "x".repeat(3000)));
    dialogue.channel.onEnd();
    await dialogue.finished;
    await new Promise((resolve) => setTimeout(resolve, 20));
    process.removeListener("unhandledRejection", note);
    t.same(unhandled, [], `${before} commands before`);
    t.ok(
      stage.log.some((text) => text.includes("lost connection after RSET from")),
      stage.log.join("; "),
    );
  }
});

t.test("replies of a pipelined group go out together", async (t) => {
  const [, dialogue] = await begin();
  dialogue.writes = 0;
  const replies = await say(
    dialogue,
    "MAIL FROM:<a@good.test>\r\nRCPT TO:<user@mail.example.com>\r\nRCPT TO:<user2>\r\nDATA\r\n",
  );
  t.equal(replies.split("\r\n").length, 5);
  t.equal(dialogue.writes, 1);
});

t.test("SMTPD-36: stand-alone mode", async (t) => {
  const [stage, dialogue] = await begin(
    { smtpd_client_restrictions: "reject", smtpd_sender_restrictions: "reject" },
    "127.0.0.1",
    true,
  );
  for (const [command, reply] of [
    ["STARTTLS", "502 5.5.1 Error: command not implemented"],
    ["AUTH PLAIN x", "503 5.5.1 Error: authentication not enabled"],
    ["XCLIENT NAME=x", "550 5.7.0 Error: insufficient authorization"],
    ["VRFY x@elsewhere.test", "252 2.0.0 x@elsewhere.test"],
    ["ETRN x.test", "458 Unable to queue messages"],
    ["FOO", "500 5.5.2 Error: command not recognized"],
  ] as const)
    t.equal(await line(dialogue, command), reply, command);
  await line(dialogue, "MAIL FROM:<a@good.test> BODY=8BITMIME");
  t.equal(await line(dialogue, "RCPT TO:<x@elsewhere.test>"), "250 2.1.5 Ok");
  await line(dialogue, "DATA");
  t.equal(await line(dialogue, "hi\r\n."), "250 2.0.0 Ok: queued as QUEUEID");
  const records = stage.messages[0]?.records ?? [];
  t.same(records.slice(0, 2), ["Sa@good.test", "Aencoding=8bit"]);
  t.same(records.slice(-2), ["X", "E"]);
});

t.test("the record stream", async (t) => {
  const [stage, dialogue] = await begin();
  await line(dialogue, "MAIL FROM:<a@good.test> RET=HDRS ENVID=e BODY=8BITMIME");
  await line(dialogue, "RCPT TO:<user@mail.example.com> NOTIFY=SUCCESS");
  await line(dialogue, "DATA");
  await line(dialogue, "Subject: x\r\n\r\n..dot\r\n.");
  const message = stage.messages[0];
  t.equal(message?.flags, 178);
  t.match(
    message?.records.map((record) =>
      record
        .replace(/^T.*/, "T")
        .replace(/;.*UTC\)$/, "; DATE")
        .replace(/=54321/, "=PORT"),
    ),
    [
      "T",
      "Alog_ident=QUEUEID",
      "Arewrite_context=local",
      "Aenvelope_id=e",
      "Aret_flags=2",
      "Sa@good.test",
      "Aencoding=8bit",
      "Alog_client_name=localhost",
      "Alog_client_address=127.0.0.1",
      "Alog_client_port=PORT",
      "Alog_message_origin=localhost[127.0.0.1]",
      "Alog_helo_name=client.test",
      "Alog_protocol_name=ESMTP",
      "Aclient_name=localhost",
      "Areverse_client_name=localhost",
      "Aclient_address=127.0.0.1",
      "Aclient_port=PORT",
      "Aserver_address=192.0.2.1",
      "Aserver_port=20000",
      "Ahelo_name=client.test",
      "Aprotocol_name=ESMTP",
      "Aclient_address_type=2",
      "Anotify_flags=2",
      "Adsn_orig_rcpt=rfc822;user@mail.example.com",
      "Ruser@mail.example.com",
      "M",
      "NReceived: from client.test (localhost [127.0.0.1])",
      "N\tby mail.example.com (Postfix) with ESMTP id QUEUEID",
      "N\tfor <user@mail.example.com>",
      "NSubject: x",
      "N",
      "N.dot",
      "X",
      "E",
    ],
  );
});

t.test("the queue's verdicts", async (t) => {
  for (const [status, reason, reply] of [
    [1, "", "451 4.3.0 Error: internal error 1"],
    [2, "", "451 4.3.0 Error: queue file write error"],
    [8, "5.7.1 no thanks", "550 5.7.1 no thanks"],
    [8, "", "550 5.7.1 Error: message content rejected"],
    [8, "554 5.7.9 full reply", "554 5.7.9 full reply"],
    [16, "", "554 5.4.0 Error: too many hops"],
    [256, "4.7.1 later", "451 4.7.1 later"],
  ] as const) {
    const [stage, dialogue] = await begin();
    stage.outcome = { status, reason };
    await envelope(dialogue);
    await line(dialogue, "DATA");
    t.equal(await line(dialogue, "hi\r\n."), reply);
    t.equal(await line(dialogue, "DATA"), "503 5.5.1 Error: need RCPT command");
  }
});

t.test("transcripts for the postmaster", async (t) => {
  const [stage, dialogue] = await begin({ notify_classes: "protocol" });
  await line(dialogue, `FOO ${"x".repeat(100)}`);
  dialogue.channel.onEnd();
  await dialogue.finished;
  const [notice] = stage.notices;
  t.equal(notice?.sender, "double-bounce@mail.example.com");
  t.ok(notice?.lines.includes(" In:  FOO"));
  t.ok(notice?.lines.includes(`     ${"x".repeat(100)}`));
  t.same(notice?.lines.slice(-4), [
    "",
    "Session aborted, reason: lost connection",
    "",
    "For other details, see the local mail logfile",
  ]);
});

t.test("SMTPD-37: one client's errors do not slow another", async (t) => {
  const stage = await Stage.open({ smtpd_soft_error_limit: "1", smtpd_error_sleep_time: "1s" });
  const bad = stage.connect("127.0.0.1");
  const good = stage.connect("127.0.0.1");
  await say(bad, "");
  await say(good, "");
  bad.channel.onData(Buffer.from("FOO\r\nFOO\r\nFOO\r\n"));
  const start = performance.now();
  t.match(await line(good, "EHLO x"), /^250-/);
  await envelope(good);
  await line(good, "DATA");
  t.match(await line(good, "hi\r\n."), /^250/);
  t.ok(performance.now() - start < 900);
  bad.channel.onEnd();
  await bad.finished;
});
