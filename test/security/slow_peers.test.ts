/** Peers that are slow on purpose: a byte at a time keeps nothing longer than the deadline of a request, silence nothing longer than a time limit. */
import { readdirSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import { sendMail } from "../../packaging/smtp_hello.ts";
import { freePort, runningInstance, until } from "../system/support/harness.ts";
import { bytes, crashes, exchange } from "../system/support/hostile.ts";

t.setTimeout(120_000);

/** Pace of a slow peer: far below the limit for one wait, far too little for a whole request. */
const PAUSE = 100;
/** Seconds; smtpd_timeout and the like. */
const LIMIT = 2;
/** What a loaded machine may add. */
const SLACK = 6000;

/** Sends `quick` at once, as replies come, and the rest a byte at a time for ever; milliseconds from the first slow byte to the hang-up. */
function slowly(
  port: number,
  quick: ReadonlyArray<string>,
  slow: (index: number) => string,
): Promise<number> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    const left = [...quick];
    let started = 0;
    let timer: ReturnType<typeof setInterval> | undefined;
    socket.on("data", (chunk) => {
      if (!/^\d{3} [^\n]*\n$/m.test(chunk.toString("latin1")) || started > 0) return;
      const next = left.shift();
      if (next !== undefined) {
        socket.write(next, "latin1");
        return;
      }
      started = Date.now();
      let index = 0;
      timer = setInterval(() => socket.write(slow(index++), "latin1"), PAUSE);
    });
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      clearInterval(timer);
      resolve(Date.now() - started);
    });
    socket.setTimeout(20_000, () => socket.destroy());
    setTimeout(() => socket.destroy(), 15_000).unref();
  });
}

const ENVELOPE = ["EHLO x\r\n", "MAIL FROM:<a@b.c>\r\n", "RCPT TO:<nobody@localhost>\r\n"];
const letter = (): string => "x";

t.test("clients", async (t) => {
  const patient = await freePort();
  const instance = await runningInstance(t, {
    mainCf: `smtpd_timeout = ${LIMIT}s\nsmtpd_per_request_deadline = yes\nsmtpd_min_data_rate = 500\n`,
    masterCf: `127.0.0.1:${patient} inet n - n - - smtpd -o smtpd_per_request_deadline=no\n`,
  });
  const port = instance.smtpPort;
  const cases: ReadonlyArray<readonly [string, ReadonlyArray<string>, (index: number) => string]> = [
    ["a command", [], (index) => "EHLO client.example.org"[index] ?? "x"],
    ["a command later", ENVELOPE, (index) => "DATA "[index] ?? "x"],
    ["content", [...ENVELOPE, "DATA\r\n"], letter],
    ["content, line by line", [...ENVELOPE, "DATA\r\n"], (index) => (index % 3 === 0 ? "\r\n" : "x")],
    ["a chunk", [...ENVELOPE, "BDAT 1000000 LAST\r\n"], letter],
  ];
  // who is asked for a chunk gets no reply before it is whole
  const times = await Promise.all(
    cases.map(([, quick, slow]) =>
      quick.at(-1)?.startsWith("BDAT") === true
        ? slowly(port, quick.slice(0, -1), (index) => (index === 0 ? (quick.at(-1) ?? "") : slow(index)))
        : slowly(port, quick, slow),
    ),
  );
  cases.forEach(([name], index) => {
    const time = times[index] ?? 0;
    t.ok(time > LIMIT * 900 && time < LIMIT * 1000 + SLACK, `${name}: ended after ${time} ms`);
  });
  await until("the lines", () => instance.maillog().split("timeout after ").length > cases.length);
  t.match(instance.maillog(), /timeout after CONNECT from localhost/);
  t.match(instance.maillog(), /timeout after DATA \(\d+ bytes\) from localhost/);
  t.match(instance.maillog(), /timeout after BDAT \(\d+ bytes\) from localhost/);
  // the classic limit is one for each wait: the same client stays
  const stays = await Promise.race([
    slowly(patient, [], letter).then(() => "ended"),
    new Promise((resolve) => setTimeout(() => resolve("stayed"), (LIMIT + 1) * 1000)),
  ]);
  t.equal(stays, "stayed");
  t.same(crashes(instance), []);
});

/** Servers that are slow at one point of the session. */
const SERVERS: ReadonlyArray<readonly [string, RegExp | "greeting"]> = [
  ["greeting", "greeting"],
  ["ehlo", /^(EHLO|HELO)/],
  ["mail", /^MAIL/],
  ["rcpt", /^RCPT/],
  ["data", /^DATA/],
  ["end", /^\.$/],
];

function slowServer(t: Test, point: RegExp | "greeting"): Promise<number> {
  const server = createServer((socket: Socket) => {
    let timer: ReturnType<typeof setInterval> | undefined;
    const say = (text: string, slow: boolean): void => {
      if (!slow) {
        socket.write(text);
        return;
      }
      socket.write("250-");
      timer = setInterval(() => socket.write("x"), PAUSE);
    };
    socket.on("error", () => socket.destroy()).on("close", () => clearInterval(timer));
    say("220 slow\r\n", point === "greeting");
    socket.on("data", (chunk) => {
      for (const line of chunk.toString("latin1").split("\r\n")) {
        if (point !== "greeting" && point.test(line)) say("", true);
        else if (line === "DATA") say("354 go\r\n", false);
        else if (/^(EHLO|HELO|MAIL|RCPT|RSET|QUIT|\.$)/.test(line)) say("250 ok\r\n", false);
      }
    });
  });
  t.teardown(() => server.close());
  return listening(server);
}

const listening = (server: ReturnType<typeof createServer>): Promise<number> =>
  new Promise((resolve) =>
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    }),
  );

t.test("servers", async (t) => {
  const ports = await Promise.all(SERVERS.map(([, point]) => slowServer(t, point)));
  // takes the message a few bytes at a time
  const taken: Socket[] = [];
  const reader = createServer((socket) => {
    taken.push(socket);
    socket.on("error", () => socket.destroy());
    socket.write("220 slow\r\n");
    socket.on("data", (chunk) => {
      const text = chunk.toString("latin1");
      if (/^DATA/m.test(text)) {
        socket.write("354 go\r\n");
        socket.pause();
        const timer = setInterval(() => socket.read(10), PAUSE);
        socket.on("close", () => clearInterval(timer));
      } else if (/^(EHLO|MAIL|RCPT|RSET|QUIT)/.test(text)) socket.write("250 ok\r\n");
    });
  });
  t.teardown(() => {
    reader.close();
    for (const socket of taken) socket.destroy();
  });
  const readerPort = await listening(reader);
  const limits = ["connect", "helo", "mail", "rcpt", "data_init", "data_xfer", "data_done"]
    .map((name) => `smtp_${name}_timeout = ${LIMIT}s\n`)
    .join("");
  const routes = [
    ...SERVERS.map(([name], index) => [name, ports[index]] as const),
    ["reader", readerPort] as const,
  ]
    .map(([name, port]) => `{ ${name}.test = smtp:[127.0.0.1]:${port} }`)
    .join(" ");
  const instance = await runningInstance(t, {
    mainCf: `${limits}smtp_per_request_deadline = yes\nsmtp_min_data_rate = 500000\ntransport_maps = inline:{ ${routes} }\n`,
  });
  const started = Date.now();
  for (const [name] of [...SERVERS, ["reader"] as const])
    await sendMail(
      instance.smtpPort,
      "a@example.org",
      `x@${name}.test`,
      `Subject: x\r\n\r\n${name === "reader" ? "line of a long body\r\n".repeat(200_000) : "x\r\n"}`,
    );
  for (const [name] of [...SERVERS, ["reader"] as const]) {
    await until(`the end of ${name}`, () =>
      new RegExp(`to=<x@${name}\\.test>.* status=deferred \\(conversation with \\S+ timed out`).test(
        instance.maillog(),
      ),
    ).catch((error: unknown) => {
      throw new Error(`${error}\n${instance.maillog()}`);
    });
  }
  t.ok(Date.now() - started < LIMIT * 4000 + 2 * SLACK, `${Date.now() - started} ms for all of them`);
  t.same(crashes(instance), []);
});

t.test("clients of the internal sockets that say half of a request and no more", async (t) => {
  const instance = await runningInstance(t, {
    mainCf: `ipc_timeout = ${LIMIT}s\nvirtual_mailbox_base = /nonexistent\n`,
  });
  await sendMail(
    instance.smtpPort,
    "a@example.org",
    `${instance.who.recipient}@localhost`,
    "Subject: x\r\n\r\nx\r\n",
  );
  const sockets = ["private", "public"].flatMap((folder) =>
    readdirSync(join(instance.queue, folder), { withFileTypes: true })
      .filter((entry) => entry.isSocket() && entry.name !== "postlog")
      .map((entry) => join(instance.queue, folder, entry.name)),
  );
  const times = await Promise.all(
    sockets.map(async (socket) => {
      const started = Date.now();
      await exchange(socket, bytes("request\0half"), { half: false, limit: 15_000 });
      return [socket.slice(instance.queue.length + 1), Date.now() - started] as const;
    }),
  );
  for (const [name, time] of times) t.ok(time < LIMIT * 1000 + SLACK, `${name}: ended after ${time} ms`);
  t.same(crashes(instance), []);
});
