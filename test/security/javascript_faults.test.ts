/**
 * Faults that a program with many clients in one process of a garbage-collected language can have, tried on the built programs: every SMTP
 * session of a test is served by one and the same smtpd. The ids are those of docs/security.md.
 */
import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Instance } from "../../packaging/instance.ts";
import { sendMail } from "../../packaging/smtp_hello.ts";
import {
  allDaemons,
  daemons,
  freePorts,
  logged,
  NEEDS_ROOT,
  queueFiles,
  runningInstance,
  until,
} from "../system/support/harness.ts";
import { bytes, crashes, stillWorks } from "../system/support/hostile.ts";

t.setTimeout(240_000);

/** A client that reads, or does not, and knows the final lines of the replies. */
class Client {
  text = "";
  closed = false;
  readonly socket: Socket;
  #wake = (): void => undefined;

  constructor(port: number, reads = true) {
    this.socket = connect({ port, host: "127.0.0.1", noDelay: true, allowHalfOpen: true });
    if (reads)
      this.socket.on("data", (chunk) => {
        this.text += chunk.toString("latin1");
        this.#wake();
      });
    this.socket.on("end", () => this.socket.end());
    // resets are part of what is tried
    this.socket.on("error", () => this.socket.destroy());
    this.socket.on("close", () => {
      this.closed = true;
      this.#wake();
    });
  }

  get replies(): string[] {
    return this.text.split("\r\n").filter((line) => /^\d{3} /.test(line));
  }

  async expect(count: number, seconds = 30): Promise<string[]> {
    const deadline = Date.now() + seconds * 1000;
    while (this.replies.length < count && !this.closed) {
      if (Date.now() > deadline) throw new Error(`no reply ${count}:\n${this.text.slice(-2000)}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 200);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.replies;
  }

  /** Sends lines and waits for as many replies. */
  async say(...lines: string[]): Promise<string> {
    const count = this.replies.length + lines.length;
    this.socket.write(bytes(lines.map((line) => `${line}\r\n`).join("")));
    return (await this.expect(count)).at(-1) ?? "";
  }

  async hello(name = "client.test"): Promise<this> {
    await this.expect(1);
    await this.say(`EHLO ${name}`);
    return this;
  }
}

type Request = ReadonlyMap<string, string>;

/** A policy server: each answer comes from `answer`, when it is ready. */
function policyServer(t: Test, port: number, answer: (request: Request) => Promise<string>): void {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    let text = "";
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
        const request = new Map(
          text
            .slice(0, end)
            .split("\n")
            .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)] as const),
        );
        text = text.slice(end + 2);
        void answer(request).then((action) => socket.write(`action=${action}\n\n`));
      }
    });
    socket.on("error", () => socket.destroy());
    socket.on("close", () => sockets.delete(socket));
  });
  server.listen(port, "127.0.0.1");
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
}

const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Kilobytes that the SMTP servers have of their own. */
const memoryOf = (instance: Instance): number =>
  allDaemons(instance)
    .filter(({ command }) => command === "smtpd")
    .reduce((sum, { memory }) => sum + memory, 0);
/** User and system time of a process in milliseconds. */
function cpuTime(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** Words that only a mistake of ours writes. */
const INTERNALS =
  /\bat \S+ \(|\.ts:\d|\bTypeError|\bRangeError|\bundefined\b|\[object |\bNaN\b|\/\$bunfs|\bat async/;

interface OneProcess {
  readonly instance: Instance;
  /** Port of the smtpd that one process serves. */
  readonly port: number;
  /** Port of one that says a lot to a client's mistakes, and waits three seconds. */
  readonly talkative: number;
  readonly smtpd: () => number;
}

/** An instance with an smtpd that is one process, and a policy server for its recipients. */
async function oneProcess(
  t: Test,
  mainCf: string,
  answer: (request: Request) => Promise<string> = async () => "DUNNO",
): Promise<OneProcess> {
  const [port = 0, policy = 0, talkative = 0] = await freePorts(3);
  policyServer(t, policy, answer);
  const instance = await runningInstance(t, {
    mainCf: `smtpd_error_sleep_time = 0
smtpd_junk_command_limit = 100000000
smtpd_soft_error_limit = 100000000
smtpd_hard_error_limit = 100000000
smtpd_client_connection_count_limit = 0
smtpd_client_port_logging = yes
in_flow_delay = 0
default_transport = discard:far
smtpd_recipient_restrictions = check_policy_service inet:127.0.0.1:${policy}, permit_mynetworks, reject
${mainCf}`,
    masterCf: `127.0.0.1:${port} inet n - n - 1 smtpd
127.0.0.1:${talkative} inet n - n - 1 smtpd -o smtpd_timeout=3s -o smtpd_reject_footer=${"x".repeat(400)}\n`,
  });
  return {
    instance,
    port,
    talkative,
    smtpd: () => daemons(instance, "smtpd")[0] ?? 0,
  };
}

const empty = (instance: Instance, ...queues: string[]): Promise<true> =>
  until(
    `empty ${queues}`,
    () => queues.every((queue) => queueFiles(instance, queue).length === 0) || undefined,
  );

t.test("one smtpd for all", async (t) => {
  const requests: Request[] = [];
  const system = await oneProcess(
    t,
    "smtpd_timeout = 8s\nsmtpd_recipient_limit = 200\nmessage_size_limit = 0\nmailbox_size_limit = 0\nheader_size_limit = 102400\nsmtpd_client_restrictions = check_client_access static:WARN\n",
    async (request) => {
      requests.push(request);
      const recipient = request.get("recipient") ?? "";
      if (recipient.startsWith("slow")) await pause(600);
      else if (recipient.startsWith("some")) await pause(Math.random() * 15);
      if (recipient.startsWith("somebad")) return `REJECT for ${recipient}`;
      return recipient.startsWith("hold") ? "HOLD" : "DUNNO";
    },
  );
  const { instance, port } = system;

  await t.test("JS-23 the replies of a group come in the order of its commands", async (t) => {
    const client = await new Client(port).hello();
    const names = Array.from({ length: 100 }, (_, i) => (i % 3 === 0 ? `somebad${i}` : `some${i}`));
    const group = ["MAIL FROM:<a@b.test>", ...names.map((name) => `RCPT TO:<${name}@far.test>`), "DATA"];
    await client.say(...group);
    const replies = client.replies.slice(2);
    t.equal(replies.length, 102);
    for (const [i, name] of names.entries())
      t.match(
        replies[i + 1],
        i % 3 === 0
          ? `554 5.7.1 <${name}@far.test>: Recipient address rejected: for ${name}@far.test`
          : "250 2.1.5 Ok",
      );
    t.match(replies[101], /^354 /);
    client.socket.write("Subject: x\r\n\r\nx\r\n.\r\nQUIT\r\n");
    t.match((await client.expect(106)).slice(-2), [/^250 2\.0\.0 Ok: queued/, /^221 /]);
  });

  await t.test("JS-22 what comes while a lookup runs waits for its turn, and an end ends it", async (t) => {
    const client = await new Client(port).hello();
    await client.say(
      "MAIL FROM:<a@b.test>",
      "RCPT TO:<slow1@far.test>",
      "RSET",
      "MAIL FROM:<c@d.test>",
      "RCPT TO:<two@far.test>",
      "DATA",
    );
    t.match(client.replies.slice(2), [
      /^250 2\.1\.0/,
      /^250 2\.1\.5/,
      /^250 2\.0\.0/,
      /^250 2\.1\.0/,
      /^250 2\.1\.5/,
      /^354/,
    ]);
    const queued = await client.say("Subject: after RSET\r\n\r\nx\r\n.");
    const id = /queued as (\w+)/.exec(queued)?.[1] ?? "";
    const from = instance.maillog().length;
    await until("delivery", () => instance.maillog().includes(`${id}: removed`));
    t.match(instance.maillog(), new RegExp(`${id}: from=<c@d\\.test>, .*nrcpt=1 `));
    client.socket.destroy();
    for (const end of ["destroy", "reset", "half"] as const) {
      const gone = await new Client(port).hello();
      await gone.say("MAIL FROM:<a@b.test>");
      gone.socket.write("RCPT TO:<slow2@far.test>\r\nDATA\r\n");
      await until("the request", () => requests.at(-1)?.get("recipient") === "slow2@far.test" || undefined);
      requests.pop();
      if (end === "destroy") gone.socket.destroy();
      else if (end === "reset") gone.socket.resetAndDestroy();
      else gone.socket.end();
    }
    await until(
      "three disconnects",
      () =>
        (instance
          .maillog()
          .slice(from)
          .match(/lost connection after/g)?.length ?? 0) >= 3 || undefined,
    );
    await empty(instance, "incoming", "active");
  });

  await t.test("JS-24 JS-21 a hundred sessions side by side keep what is theirs", async (t) => {
    requests.length = 0;
    const from = instance.maillog().length;
    const session = async (index: number): Promise<void> => {
      const mark = `mark${String(index).padStart(3, "0")}x`;
      const client = await new Client(port).hello(`${mark}.test`);
      await client.say(`MAIL FROM:<${mark}@b.test> ENVID=${mark}`);
      await pause(Math.random() * 20);
      for (const step of [1, 2, 3])
        await client.say(`RCPT TO:<hold-${mark}-${step}@far.test> ORCPT=rfc822;${mark}@o.test`);
      await client.say("DATA");
      const line = `${mark} `.repeat(1 + Math.floor(Math.random() * 40));
      client.socket.write(`Subject: ${mark}\r\nFrom: ${mark}@b.test\r\n\r\n`);
      for (let i = 0; i < 8; i++) {
        client.socket.write(`${line}\r\n`);
        await pause(Math.random() * 8);
      }
      t.match(await client.say("."), /^250 2\.0\.0 Ok: queued/);
      await client.say("QUIT");
    };
    await Promise.all(Array.from({ length: 100 }, (_, index) => session(index)));
    const marks = (text: string): Set<string> => new Set(text.match(/mark\d{3}x/g));
    const folder = join(instance.queue, "hold");
    const files = readdirSync(folder).map((name) => readFileSync(join(folder, name), "latin1"));
    t.equal(files.length, 100);
    t.same(
      files.filter((text) => marks(text).size !== 1),
      [],
    );
    t.equal(marks(files.join("")).size, 100);
    t.equal(requests.length, 300);
    t.same(
      requests.filter((request) => marks([...request.values()].join(" ")).size !== 1),
      [],
    );
    const log = instance.maillog().slice(from).split("\n");
    t.same(
      log.filter((line) => marks(line).size > 1),
      [],
    );
    instance.must("postsuper", ["-d", "ALL"]);
  });

  await t.test("JS-17 JS-26 sessions that end anywhere end once, and end nobody else's", async (t) => {
    const steps = [
      "",
      "EHLO x.test\r\n",
      "MAIL FROM:<a@b.test>\r\n",
      "RCPT TO:<some@far.test>\r\n",
      "DATA\r\n",
      "Subject: x\r\n\r\n",
      `${"x".repeat(70)}\r\n`.repeat(2000),
      ".\r\n",
      "BDAT 10\r\n12345",
      "67890BDAT 100000 LAST\r\nabc",
    ];
    const steady = await new Client(port).hello();
    const from = instance.maillog().length;
    const count = (pattern: RegExp): number => instance.maillog().slice(from).match(pattern)?.length ?? 0;
    const ends: Array<(socket: Socket) => void> = [
      (socket) => socket.resetAndDestroy(),
      (socket) => socket.destroy(),
      (socket) => socket.end(),
      (socket) => {
        socket.end();
        setTimeout(() => socket.resetAndDestroy(), 5);
      },
    ];
    const session = async (last: number, end: (socket: Socket) => void, waits: boolean): Promise<void> => {
      const client = new Client(port, waits);
      if (waits) await client.expect(1);
      for (const [index, step] of steps.slice(0, last + 1).entries()) {
        if (step === "") continue;
        if (last >= 8 && index >= 4 && index < 8) continue;
        client.socket.write(step);
        if (waits && index <= 4) await client.expect(1 + index);
      }
      await pause(5);
      end(client.socket);
    };
    const all = ends.flatMap((end) =>
      steps.flatMap((_, last) => [session(last, end, true), session(last, end, false)]),
    );
    await steady.say("MAIL FROM:<steady@b.test>", "RCPT TO:<some@far.test>");
    await Promise.all(all);
    await steady.say("DATA");
    t.match(await steady.say("Subject: steady\r\n\r\nx\r\n."), /^250 2\.0\.0 Ok: queued/);
    steady.socket.destroy();
    await until(
      "every session's end",
      () => count(/ disconnect from /g) === count(/ connect from /g) + 1 || undefined,
    );
    t.ok(count(/ connect from /g) > 60, `${count(/ connect from /g)} sessions`);
    await empty(instance, "incoming", "active", "maildrop");
    t.same(crashes(instance), []);
  });

  await t.test("JS-20 bytes that come one at a time cost time in proportion", async (t) => {
    const cost = async (count: number): Promise<number> => {
      const client = await new Client(port).hello();
      await client.say("MAIL FROM:<a@b.test>", "RCPT TO:<two@far.test>", "DATA");
      const before = cpuTime(system.smtpd());
      const one = Buffer.from("x");
      for (let sent = 0; sent < count; sent++)
        if (!client.socket.write(one) || sent % 50 === 0)
          await new Promise((resolve) => setImmediate(resolve));
      client.socket.write("\r\n");
      await client.say(".");
      const cost = cpuTime(system.smtpd()) - before;
      client.socket.destroy();
      return cost;
    };
    await cost(5_000);
    const [once, twice] = [await cost(50_000), await cost(100_000)];
    t.ok(twice < 3 * once + 200, `${once} and ${twice} ms`);
  });

  await t.test("JS-18 one client's flood leaves the others their turn", async (t) => {
    const quiet = await new Client(port).hello();
    const floods: ReadonlyArray<readonly [string, ReadonlyArray<string>, string]> = [
      ["commands", [], "RSET\r\n".repeat(10_000)],
      ["empty lines", [], "\n".repeat(60_000)],
      [
        "lines of a message",
        ["MAIL FROM:<a@b.test>", "RCPT TO:<two@far.test>", "DATA"],
        "x\r\n".repeat(20_000),
      ],
      ["headers", ["MAIL FROM:<a@b.test>", "RCPT TO:<two@far.test>", "DATA"], "X-A: b\r\n".repeat(8_000)],
    ];
    for (const [name, before, piece] of floods) {
      const flood = await new Client(port).hello();
      if (before.length > 0) await flood.say(...before);
      const input = bytes(piece);
      flood.text = "";
      // the replies are taken, not kept
      flood.socket.removeAllListeners("data").resume();
      let sent = 0;
      const push = (): void => {
        while (!flood.closed && sent < 8e6) {
          sent += input.length;
          if (!flood.socket.write(input)) return;
        }
      };
      flood.socket.on("drain", push);
      push();
      const waits: number[] = [];
      const end = performance.now() + 1500;
      while (performance.now() < end) {
        const start = performance.now();
        await quiet.say("NOOP");
        waits.push(performance.now() - start);
        await pause(10);
      }
      flood.socket.destroy();
      waits.sort((a, b) => a - b);
      const middle = waits[waits.length >> 1] ?? 0;
      const worst = waits.at(-1) ?? 0;
      t.ok(
        sent > 100_000 && middle < 100 && worst < 1000,
        `${name}: ${sent} bytes; ${middle.toFixed(1)} ms, at most ${worst.toFixed(0)}`,
      );
    }
    quiet.socket.destroy();
    await until("the last flood is over", () => cpuIdle(system.smtpd()));
  });

  await t.test("JS-19 a client that does not read is not read", async (t) => {
    const from = instance.maillog().length;
    const memory = memoryOf(instance);
    const clients = await Promise.all(
      ["FOO\r\n", "FOO\r\nRSET\r\n", "MAIL\r\n"].map(async (command) => {
        const client = await new Client(system.talkative).hello();
        client.socket.removeAllListeners("data").pause();
        const input = bytes(command.repeat(4_000_000 / command.length));
        for (let i = 0; i < 10; i++) client.socket.write(input);
        return client;
      }),
    );
    let peak = 0;
    await until("the time limit", () => {
      peak = Math.max(peak, memoryOf(instance) - memory);
      return (
        (instance
          .maillog()
          .slice(from)
          .match(/timeout after/g)?.length ?? 0) >= 3
      );
    });
    t.ok(peak < 150_000, `${peak} kB for three clients`);
    for (const client of clients) {
      t.ok(client.socket.writableLength > 10_000_000 || client.closed, "most was never taken");
      client.socket.destroy();
    }
  });

  await t.test("JS-31 JS-34 nothing of this showed what is inside", async (t) => {
    t.same(
      instance
        .maillog()
        .split("\n")
        .filter((line) => INTERNALS.test(line)),
      [],
    );
    await stillWorks(t, instance);
  });
});

/** Whether a process used no processor time for a tenth of a second. */
const idle = new Map<number, { readonly at: number; readonly used: number }>();
function cpuIdle(pid: number): boolean {
  const now = { at: performance.now(), used: cpuTime(pid) };
  const before = idle.get(pid);
  if (before === undefined || now.used > before.used) {
    idle.set(pid, now);
    return false;
  }
  return now.at - before.at > 300;
}

t.test("who a delivery is for", NEEDS_ROOT, async (t) => {
  const USERS = ["games", "news", "uucp", "proxy", "backup", "list", "irc", "lp", "man", "sync"];
  const instance = await runningInstance(t, {
    mainCf: (directory) => {
      writeFileSync(
        join(directory, "pcre"),
        "/^X-Evil: (a+)+$/ REJECT evil\n/^X-Evil: (x+x+)+y/ REJECT evil\n",
      );
      writeFileSync(join(directory, "regexp"), "/^X-Evil: (a+)+$/ REJECT evil\n");
      return `local_recipient_maps =
forward_path = ${directory}/forward/$user
default_transport = discard:far
header_checks = pcre:${directory}/pcre regexp:${directory}/regexp
transport_maps = inline:{ { voila@far.test = voila } }
`;
    },
    masterCf:
      "local unix - n n - 4 local\nvoila unix - n n - - pipe user=nobody argv=/usr/bin/printf voil\\303\\240\n",
  });
  const send = (to: string, text = "Subject: x\r\n\r\nx\r\n"): Promise<string> =>
    sendMail(instance.smtpPort, "a@b.test", to, text);

  await t.test("JS-25 every mailbox and every command is its own user's", async (t) => {
    mkdirSync(join(instance.directory, "forward"));
    const ids = new Map(
      readFileSync("/etc/passwd", "latin1")
        .split("\n")
        .map((line) => line.split(":"))
        .map(([name = "", , uid, gid]) => [name, [Number(uid), Number(gid)] as const] as const),
    );
    const users = USERS.filter((name) => ids.has(name));
    for (const name of users) {
      const path = join(instance.directory, "forward", name);
      writeFileSync(
        path,
        `\\${name}\n"|id -u >> ${instance.mail}/id.${name}"\n${instance.mail}/file.${name}\n`,
      );
      chownSync(path, ...(ids.get(name) ?? [0, 0]));
      chmodSync(path, 0o600);
    }
    await Promise.all(
      Array.from({ length: 4 }, async (_, part) => {
        for (let round = 0; round < 3; round++)
          for (const index of users.keys())
            await send(`${users[(index + 3 * part) % users.length]}@localhost`);
      }),
    );
    await empty(instance, "incoming", "active");
    t.equal(instance.maillog().match(/status=sent \(delivered to command/g)?.length, 12 * users.length);
    for (const name of users) {
      const uid = ids.get(name)?.[0];
      for (const file of [name, `id.${name}`, `file.${name}`])
        t.equal(statSync(join(instance.mail, file)).uid, uid, file);
      t.same(
        [
          ...new Set(
            readFileSync(join(instance.mail, `id.${name}`), "latin1")
              .trim()
              .split("\n"),
          ),
        ],
        [String(uid)],
      );
      t.equal(readFileSync(join(instance.mail, `file.${name}`), "latin1").match(/^From /gm)?.length, 12);
    }
  });

  await t.test("JS-05 a pattern of the admin's that never ends holds nobody up", async (t) => {
    const evil = [30, 100, 5000].flatMap((length) => [`${"a".repeat(length)}!`, "x".repeat(length)]);
    const start = performance.now();
    const all = Promise.all(
      evil.map((text) => send("x@far.test", `X-Evil: ${text}\r\n\r\nx\r\n`).catch(String)),
    );
    const waits: number[] = [];
    let done = false;
    void all.finally(() => {
      done = true;
    });
    do {
      const before = performance.now();
      await send("y@far.test");
      waits.push(performance.now() - before);
    } while (!done);
    const replies = await all;
    t.ok(Math.max(...waits) < 3000, `${Math.max(...waits).toFixed(0)} ms at most`);
    t.ok(performance.now() - start < 20_000, replies.join("\n"));
    for (const reply of replies) t.match(reply, /queued as|451 4\.3\.0/);
  });

  await t.test("JS-16 a letter whose last byte is a blank elsewhere stays whole", async (t) => {
    await send("voila@far.test");
    const [, shown] = await logged(
      instance,
      /to=<voila@far\.test>.*\(delivered via voila service \((.*)\)\)$/m,
    );
    t.equal(shown, "voil__");
  });

  await t.test("JS-29 JS-34 nothing of this was a fault of ours", async (t) => {
    t.same(
      instance
        .maillog()
        .split("\n")
        .filter((line) => INTERNALS.test(line)),
      [],
    );
    t.same(crashes(instance), []);
  });
});
