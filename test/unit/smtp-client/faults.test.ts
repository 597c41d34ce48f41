/** Servers that misbehave (known-faults CLI-*), and connections that are used again. */
import { spawn, spawnSync } from "node:child_process";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import t from "tap";
import { freePort, until } from "../../system/support/harness.ts";
import { type Agent, type Job, Queue, ScriptedServer } from "./harness.ts";

const needsSs = spawnSync("ss", ["-V"]).status === 0 ? {} : { skip: "no ss" };
const CONTENT = ["From: sender@remote.example", "Subject: x", "", "body"];
const rcpt = (...names: string[]) => names.map((name) => ({ recipient: `${name}@s1.test` }));

/** A server that is nothing but a function. */
async function rawServer(
  t: { teardown(done: () => void): void },
  serve: (socket: Socket) => void,
): Promise<number> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    serve(socket);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

const statuses = (log: ReadonlyArray<string>): string[] =>
  log.flatMap((line) => {
    const match = /to=<([^@]*)@.*dsn=([0-9.]+), status=([a-z]+) \((.*)\)$/.exec(line);
    return match === null ? [] : [`${match[1]} ${match[2]} ${match[3]}`];
  });

t.test("faults", async (t) => {
  const queue = await new Queue().start();
  t.teardown(() => queue.stop());
  const agent: Agent = await queue.agent("smtp", [
    "smtp_helo_timeout=2",
    "smtp_mail_timeout=2",
    "smtp_rcpt_timeout=2",
    "smtp_data_done_timeout=2",
    "smtp_data_init_timeout=2",
    "smtp_rset_timeout=2",
  ]);
  const job = (port: number, recipients = rcpt("a"), extra: Partial<Job> = {}): Job => ({
    nexthop: `[127.0.0.1]:${port}`,
    recipients,
    content: CONTENT,
    ...extra,
  });

  await t.test("CLI-01 status codes belong to their own reply", async (t) => {
    const server = await new ScriptedServer({
      ehlo: ["fake.example"],
      replies: [
        ["RCPT TO:<a", "550 5.1.1 no"],
        ["RCPT TO:<b", "450"],
        ["RCPT TO:<c", "550 4.1.1 mismatch"],
        ["RCPT TO:<d", "450-4.2.2 first\r\n450 plain"],
        ["RCPT TO:<e", "450 4.7.1.1 odd"],
      ],
    }).start();
    t.teardown(() => server.stop());
    const { log } = await agent.deliver(job(server.port, rcpt("a", "b", "c", "d", "e")));
    t.same(statuses(log), [
      "a 5.1.1 bounced",
      "b 4.0.0 deferred",
      "c 5.0.0 bounced",
      "d 4.0.0 deferred",
      "e 4.0.0 deferred",
    ]);
  });

  await t.test("CLI-02 endless and huge replies", async (t) => {
    const endless = await rawServer(t, (socket) => {
      const line = "x".repeat(65536);
      const pour = (): void => {
        while (!socket.destroyed && socket.write(line));
      };
      socket.on("drain", pour);
      pour();
    });
    const lines = await rawServer(t, (socket) => {
      const text = "220-hello\r\n".repeat(8192);
      const pour = (): void => {
        while (!socket.destroyed && socket.write(text));
      };
      socket.on("drain", pour);
      pour();
    });
    const drip = await rawServer(t, (socket) => {
      const timer = setInterval(() => socket.write("2"), 300);
      socket.on("close", () => clearInterval(timer));
    });
    for (const port of [endless, lines, drip]) {
      const { reply, log } = await agent.deliver(job(port));
      t.equal(reply?.status, -1);
      t.match(reply?.dsnStatus, "4.4.2");
      t.match(log.join("\n"), "status=deferred");
    }
    const nul = await new ScriptedServer({ replies: [["MAIL", "550 5.7.1 a\0b\x1b[2Jc"]] }).start();
    t.teardown(() => nul.stop());
    t.match((await agent.deliver(job(nul.port))).log.join(), "550 5.7.1 a?b?[2Jc");
  });

  await t.test("CLI-03 features are those of the present server", async (t) => {
    const first = await rawServer(t, (socket) => {
      socket.write("220 one ESMTP\r\n");
      socket.on("data", (chunk) => {
        if (chunk.toString().startsWith("EHLO"))
          socket.end(
            "250-one\r\n250-SIZE 100000\r\n250-8BITMIME\r\n250-DSN\r\n250-AUTH PLAIN\r\n250 PIPELINING\r\n",
          );
      });
    });
    const second = await new ScriptedServer({ ehlo: ["two"] }).start();
    t.teardown(() => second.stop());
    const { log, done } = await agent.deliver(
      job(0, rcpt("a"), { nexthop: `[127.0.0.1]:${first},[127.0.0.1]:${second.port}` }),
    );
    t.match(
      log[0],
      /^QUEUEID: lost connection with 127.0.0.1\[127.0.0.1\] while sending (MAIL FROM|RCPT TO)/,
    );
    t.same(done, [true]);
    const client = second.transcripts[0]?.filter((line) => typeof line === "string" && line.startsWith("C:"));
    t.same(client?.slice(0, 4), [
      "C: EHLO mail.example.com",
      "C: MAIL FROM:<sender@remote.example>",
      "C: RCPT TO:<a@s1.test>",
      "C: DATA",
    ]);
  });

  await t.test("CLI-04 nothing in the envelope becomes a command", async (t) => {
    const server = await new ScriptedServer({
      ehlo: ["fake.example", "DSN", "XFORWARD NAME HELO", "PIPELINING"],
    }).start();
    t.teardown(() => server.stop());
    const evil = "a@b>\r\nRCPT TO:<x@y";
    const bySender = await agent.deliver(
      job(server.port, rcpt("a"), { request: { sender: evil, envelopeId: "a\r\nRSET" } }),
    );
    t.match(bySender.log.join("\n"), "dsn=5.1.7, status=bounced");
    const byRecipient = await agent.deliver(
      job(server.port, [{ recipient: "x\r\nDATA@s1.test" }, { recipient: "ok@s1.test" }], {
        request: { envelopeId: "a\r\nRSET" },
      }),
    );
    t.match(byRecipient.log.join("\n"), "dsn=5.1.3, status=bounced");
    t.same(byRecipient.done, [true, true]);
    const said = server.transcripts
      .flat()
      .filter((line) => typeof line === "string" && line.startsWith("C: "));
    t.notOk(said.some((line) => /^C: (RSET|RCPT TO:<x@y)/.test(String(line)) && !said.includes("C: QUIT")));
    t.ok(said.includes("C: MAIL FROM:<sender@remote.example> ENVID=a+0D+0ARSET"));
  });

  await t.test("CLI-06 reply text stays on one line of the log", async (t) => {
    const server = await new ScriptedServer({
      replies: [["RCPT", "550-a\r\n550-recipient=x\r\n550 <x>: y"]],
    }).start();
    t.teardown(() => server.stop());
    queue.appended.length = 0;
    await agent.deliver(job(server.port));
    t.match(
      queue.appended[0],
      "reason|host 127.0.0.1[127.0.0.1] said: 550-a 550-recipient=x 550 <x>: y (in reply to RCPT TO command)",
    );
    t.notMatch(queue.appended[0], /\n/);
  });

  await t.test("CLI-13 delivered means a positive reply to the end of data", async (t) => {
    const outcomes: ReadonlyArray<readonly [string | null, "sent" | "deferred" | "bounced"]> = [
      [null, "deferred"],
      ["25", "deferred"],
      ["250", "deferred"],
      ["250 ok\r\n", "sent"],
      ["421 bye\r\n", "deferred"],
      ["250 ok\r\n250 ok again\r\n", "sent"],
      ["garbage\r\n", "deferred"],
      ["550 5.0.0 no\r\n", "bounced"],
    ];
    for (const [answer, expected] of outcomes) {
      const port = await rawServer(t, (socket) => {
        socket.write("220 x ESMTP\r\n");
        let input = "";
        socket.on("data", (chunk) => {
          input += chunk.toString("latin1");
          if (input.startsWith("EHLO") && input.endsWith("\r\n") && !input.includes("MAIL"))
            socket.write("250-x\r\n250 PIPELINING\r\n");
          else if (input.endsWith("DATA\r\n")) socket.write("250 ok\r\n250 ok\r\n354 go\r\n");
          else if (input.includes("\r\n.\r\n")) {
            if (answer === null) socket.destroy();
            else socket.end(answer);
          }
        });
      });
      const { log, done } = await agent.deliver(job(port));
      t.match(log.at(-1), new RegExp(`status=${expected}`), `${answer}`);
      t.same(done, [expected !== "deferred"]);
    }
  });

  await t.test("CLI-14 replies do not slide", async (t) => {
    for (const count of [99, 101]) {
      const port = await rawServer(t, (socket) => {
        socket.write("220 x ESMTP\r\n");
        let input = "";
        let answered = false;
        socket.on("data", (chunk) => {
          input += chunk.toString("latin1");
          if (input.startsWith("EHLO") && !input.includes("MAIL"))
            socket.write("250-x\r\n250 PIPELINING\r\n");
          else if (input.endsWith("DATA\r\n") && !answered) {
            answered = true;
            socket.write(`250 mail\r\n${"250 rcpt\r\n".repeat(count)}354 go\r\n`);
          } else if (input.includes("\r\n.\r\n")) socket.write("250 queued\r\n221 bye\r\n");
        });
      });
      const recipients = rcpt(...Array.from({ length: 100 }, (_, index) => `u${index}`));
      const { log } = await agent.deliver(job(port, recipients));
      t.equal(statuses(log).length, 100, `${count} replies`);
      t.notOk(statuses(log).some((status) => status.endsWith("sent")));
    }
  });

  await t.test("CLI-15 no usable greeting", async (t) => {
    const good = await new ScriptedServer({}).start();
    t.teardown(() => good.stop());
    for (const greeting of ["", "554 no\r\n", "421 later\r\n", "HTTP/1.1 400 Bad\r\n\r\n"]) {
      const port = await rawServer(t, (socket) => {
        socket.write(greeting);
        socket.on("end", () => socket.end());
      });
      const { done } = await agent.deliver(
        job(0, rcpt("a"), { nexthop: `[127.0.0.1]:${port},[127.0.0.1]:${good.port}` }),
      );
      t.same(done, [true], JSON.stringify(greeting));
    }
  });

  await t.test("CLI-18 long lines and large messages arrive as they are", async (t) => {
    const server = await new ScriptedServer({ ehlo: ["fake.example", "PIPELINING", "8BITMIME"] }).start();
    t.teardown(() => server.stop());
    const lines = ["Subject: x", "", ".", "..", "", `.${"y".repeat(1500)}`, "z".repeat(5000)];
    for (let index = 0; index < 20_000; index++) lines.push(`${index} ${"m".repeat(index % 90)}`);
    const { done } = await agent.deliver(job(server.port, rcpt("a"), { content: lines }));
    t.same(done, [true]);
    const content = server.transcripts[0]?.find((line) => Array.isArray(line)) as string[];
    const unstuffed = content.map((line) => (line.startsWith(".") ? line.slice(1) : line));
    t.ok(content.every((line) => line.length <= 999));
    const joined = unstuffed.join("\n").replaceAll(/([^\n]{998})\n [^\n]*/g, (text) => text);
    t.equal(unstuffed.slice(-20_000).join("\n"), lines.slice(-20_000).join("\n"));
    t.same(unstuffed.slice(2, 5), [".", "..", ""]);
    t.ok(joined.length > 0);
    const long = unstuffed.slice(5, -20_000);
    t.equal(
      long.map((line, index) => (index === 0 || line.startsWith("z") ? line : line.slice(1))).join("").length,
      1501 + 5000,
    );
  });

  await t.test("a refusal in the middle of the content is used", async (t) => {
    const port = await rawServer(t, (socket) => {
      socket.write("220 x ESMTP\r\n");
      let input = "";
      let stage = 0;
      socket.on("data", (chunk) => {
        input = (input + chunk.toString("latin1")).slice(-200);
        if (stage === 0 && input.startsWith("EHLO")) {
          stage = 1;
          socket.write("250-x\r\n250 PIPELINING\r\n");
        } else if (stage === 1 && input.endsWith("DATA\r\n")) {
          stage = 2;
          socket.write("250 ok\r\n250 ok\r\n354 go\r\n");
        } else if (stage === 2) {
          stage = 3;
          socket.write("552 5.3.4 too much\r\n");
          socket.pause();
          setTimeout(() => socket.resetAndDestroy(), 100);
        }
      });
    });
    const { log } = await agent.deliver(
      job(port, rcpt("a"), { content: Array<string>(300_000).fill("x".repeat(70)) }),
    );
    t.match(log.at(-1), /status=(bounced|deferred)/);
    t.notMatch(log.at(-1), "status=sent");
  });

  await t.test("connections are used again", async (t) => {
    const server = await new ScriptedServer({ ehlo: ["fake.example", "PIPELINING"] }).start();
    t.teardown(() => server.stop());
    const cached = job(server.port, rcpt("a"), { request: { flags: 3 | 2048 | 4096 } });
    const first = await agent.deliver(cached);
    const second = await agent.deliver(cached);
    const third = await agent.deliver(cached);
    t.equal(server.transcripts.length, 1, "one connection");
    t.notMatch(first.log[0], "conn_use");
    t.match(second.log[0], /, conn_use=2, delay=D, delays=A\/B\/C\/D, dsn=2\.0\.0/);
    t.match(third.log[0], "conn_use=3");
    t.equal(server.transcripts[0]?.filter((line) => line === "C: RSET").length, 2);
    await new Promise((later) => setTimeout(later, 2300));
    const late = await agent.deliver(cached);
    t.equal(server.transcripts.length, 2, "not after its time");
    t.notMatch(late.log[0], "conn_use");
  });

  await t.test("a kept connection that the server closed is not used", async (t) => {
    const server = await new ScriptedServer({
      ehlo: ["fake.example"],
      replies: [["RSET", "421 going"]],
    }).start();
    t.teardown(() => server.stop());
    const cached = job(server.port, rcpt("a"), { request: { flags: 3 | 2048 | 4096 } });
    t.same((await agent.deliver(cached)).done, [true]);
    t.same((await agent.deliver(cached)).done, [true]);
    t.equal(server.transcripts.length, 2);
  });

  await t.test("a pipelined probe that fails costs nothing", async (t) => {
    const server = await new ScriptedServer({
      ehlo: ["fake.example", "PIPELINING"],
      replies: [["RSET", "421 going"]],
    }).start();
    t.teardown(() => server.stop());
    const cached = job(server.port, rcpt("a"), { request: { flags: 3 | 2048 | 4096 } });
    for (let round = 0; round < 3; round++) {
      const { done, log } = await agent.deliver(cached);
      t.same(done, [true]);
      t.equal(log.length, 1);
      t.notMatch(log[0], "conn_use");
    }
    t.equal(server.transcripts.length, 3);
    t.equal(server.transcripts.flat().filter((line) => line === "C: .").length, 3, "each message once");
    server.script = { ehlo: ["fake.example", "PIPELINING"], replies: [["RSET", "DROP"]] };
    for (let round = 0; round < 2; round++) t.same((await agent.deliver(cached)).done, [true]);
  });

  await t.test("CLI-17 failed connections leave nothing behind", async (t) => {
    const { readdirSync } = await import("node:fs");
    const count = (): number => readdirSync(`/proc/${agent.child.pid}/fd`).length;
    const before = count();
    for (let round = 0; round < 50; round++) await agent.deliver(job(1));
    t.ok(count() <= before + 2, `${before} before, ${count()} after`);
  });

  await t.test("debug_peer_list shows the dialogue with one destination", async (t) => {
    const talkative = await queue.agent("smtp", ["debug_peer_list=127.0.0.2"]);
    const dialogue = async (address: string): Promise<string[]> => {
      const port = await freePort();
      const server = await new ScriptedServer({}).startAt(address, port);
      t.teardown(() => server.stop());
      const { log } = await talkative.deliver({ ...job(port), nexthop: `[${address}]:${port}` });
      return log.flatMap(
        (line) => /(?:[<>] [^ ]+\[127\.0\.0\.\d\]:\d+: .*)$/.exec(line)?.[0].replace(/:\d+:/, ":PORT:") ?? [],
      );
    };
    t.same(await dialogue("127.0.0.1"), []);
    const seen = await dialogue("127.0.0.2");
    t.equal(seen[0], "< 127.0.0.2[127.0.0.2]:PORT: 220 fake.example ESMTP");
    t.match(seen[1], /^> 127\.0\.0\.2\[127\.0\.0\.2\]:PORT: EHLO /);
    t.ok(seen.some((line) => line.endsWith(": RCPT TO:<a@s1.test>")));
    t.ok(seen.some((line) => line.endsWith(": 250 2.1.5 Ok")));
  });

  await t.test("tcp_windowsize bounds the buffers of a connection", needsSs, async (t) => {
    const narrow = await queue.agent("smtp", ["tcp_windowsize=20000", "smtp_helo_timeout=1"]);
    const port = await rawServer(t, () => undefined);
    const delivery = narrow.deliver(job(port));
    // the kernel says twice what was asked for
    const buffers = await until("the connection", () => {
      const { stdout } = spawnSync("ss", ["-tmn", "dport", "=", `:${port}`], { encoding: "utf8" });
      return /skmem:\(r\d+,rb(\d+),t\d+,tb(\d+),/.exec(stdout)?.slice(1);
    });
    t.same(buffers, ["40000", "40000"]);
    t.match((await delivery).log.join("\n"), "timed out while receiving the initial server greeting");
  });

  await t.test("many deliveries side by side", async (t) => {
    const server = await new ScriptedServer({ ehlo: ["fake.example", "PIPELINING"] }).start();
    t.teardown(() => server.stop());
    const results = await Promise.all(Array.from({ length: 40 }, () => agent.deliver(job(server.port))));
    t.ok(results.every(({ done }) => done[0]));
    t.equal(server.transcripts.length, 40);
  });

  await t.test("the postmaster hears of protocol errors", async (t) => {
    const noted = await queue.agent("smtp", ["notify_classes=protocol"]);
    const server = await new ScriptedServer({
      ehlo: ["fake.example"],
      replies: [["RCPT", "503 5.5.1 protocol?"]],
    }).start();
    t.teardown(() => server.stop());
    await noted.deliver(job(server.port));
    const [text = ""] = queue.posted;
    t.match(text, "double-bounce@mail.example.com");
    t.match(text, `Subject: Postfix SMTP client: errors from 127.0.0.1[127.0.0.1]:${server.port}`);
    t.match(text, " Out: RCPT TO:<a@s1.test>");
    t.match(text, " In:  503 5.5.1 protocol?");
    await noted.deliver(job(server.port, rcpt("a"), { request: { sender: "" } }));
    t.equal(queue.posted.length, 1, "not about bounces");
  });
});

/** What a server behind a cached connection has said or done meanwhile. */
const LEFT: Readonly<Record<string, (socket: Socket) => void>> = {
  closed: (socket) => socket.end(),
  reset: (socket) => setTimeout(() => socket.resetAndDestroy(), 20),
  "unread farewell": (socket) => socket.write("421 4.4.2 fake.example Error: timeout exceeded\r\n"),
  "unread nonsense": (socket) => socket.write("250 2.0.0 Ok\r\n250 2.0.0 Ok: queued as NOTHING\r\n"),
  silence: () => undefined,
};

t.test("CLI-12 a connection cache that fails costs a connection, not the mail", async (t) => {
  const queue = await new Queue().start();
  t.teardown(() => queue.stop());
  const faults: ReadonlyArray<readonly [mode: string, left?: string]> = [
    ["silent"],
    ["closes"],
    ["deaf"],
    ["halfway"],
    ["no descriptor"],
    ["file"],
    ...Object.keys(LEFT).map((left) => ["passes", left] as const),
  ];
  const bun = join(import.meta.dirname, "../../../node_modules/bun/bin/bun.exe");
  const attempt = async ([mode, left]: (typeof faults)[number]): Promise<void> => {
    const name = left ?? mode;
    const server = await new ScriptedServer({ ehlo: ["fake.example"] }).start();
    t.teardown(() => server.stop());
    let passed = 0;
    const cached = await rawServer(t, (socket) => {
      passed++;
      LEFT[left ?? "closed"]?.(socket);
    });
    const service = `scache${name.replace(" ", "")}`;
    const script = join(import.meta.dirname, "fake_scache.ts");
    const socket = join(queue.directory, "private", service);
    const cache = spawn(bun, ["run", script, mode, socket, String(cached)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    t.teardown(() => cache.kill());
    await new Promise((ready) => cache.stdout.once("data", ready));
    const agent = await queue.agent("smtp", [
      "alone=yes",
      "smtp_connection_cache_destinations=127.0.0.1",
      `connection_cache_service_name=${service}`,
      "connection_cache_protocol_timeout=1",
      "smtp_rset_timeout=1",
      "smtp_mail_timeout=2",
    ]);
    const deliver = (to: string): ReturnType<Agent["deliver"]> =>
      agent.deliver({ nexthop: `[127.0.0.1]:${server.port}`, recipients: rcpt(to), content: CONTENT });
    const { done, log, reply } = await deliver("a");
    t.same(done, [true], `${name}: ${log.join("\n")}`);
    t.equal(reply?.status, 0, name);
    t.same(statuses(log), ["a 2.0.0 sent"], name);
    t.equal(server.transcripts.length, 1, `${name}: over a connection of its own`);
    t.equal(passed > 0, mode === "passes", `${name}: connections from the cache`);
    t.same((await deliver("b")).done, [true], `${name}: the process lives`);
    agent.stop();
    cache.kill();
  };
  const started = performance.now();
  await Promise.all(faults.map(attempt));
  t.ok(performance.now() - started < 40_000, "within its time limits");
});
