/**
 * Each daemon with the worst client that was found for it: its memory stays within a bound, whatever the client sends. The figures of
 * docs/security.md are those that this test prints.
 */

import { spawn } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Instance } from "../../packaging/instance.ts";
import { sendMail } from "../../packaging/smtp_hello.ts";
import {
  allDaemons,
  daemons,
  logged,
  NEEDS_ROOT,
  queueFiles,
  runningInstance,
  until,
} from "../system/support/harness.ts";
import { bytes, crashes, exchange, stillWorks } from "../system/support/hostile.ts";
import { idOf, plant, queueFile, record } from "../system/support/queue_damage.ts";

t.setTimeout(300_000);

const MEGABYTE = 1024 * 1024;
const list = (...words: ReadonlyArray<string | number>): Buffer => bytes(`${words.join("\0")}\0\0`);
const plain = (...words: ReadonlyArray<string>): Buffer => {
  const pairs = words.flatMap((word, index) =>
    index % 2 === 0 ? [`${word}=${words[index + 1] ?? ""}\n`] : [],
  );
  return bytes(`${pairs.join("")}\n`);
};

/** Writes pieces as fast as the peer takes them, reading whatever it says; ends when it hangs up, or with the last piece. */
function pour(
  target: string | number,
  pieces: Iterable<Buffer>,
  {
    finish = true,
    read = true,
    hello = false,
  }: {
    finish?: boolean;
    read?: boolean /** An SMTP session: the pieces come after the reply to EHLO. */;
    hello?: boolean;
  } = {},
): Promise<{ sent: number; heard: number }> {
  return new Promise((resolve) => {
    const where = typeof target === "number" ? { port: target, host: "127.0.0.1" } : { path: target };
    const socket = connect({ ...where, allowHalfOpen: true });
    const result = { sent: 0, heard: 0 };
    const source = pieces[Symbol.iterator]();
    const more = (): void => {
      for (;;) {
        if (socket.destroyed) return;
        const next = source.next();
        if (next.done === true) {
          if (finish) socket.end();
          return;
        }
        result.sent += next.value.length;
        if (!socket.write(next.value)) return;
      }
    };
    const begin = (): void => {
      more();
      socket.on("drain", more);
    };
    if (hello) {
      socket.once("data", () => {
        socket.write("EHLO x\r\n");
        socket.once("data", begin);
      });
    } else socket.on("connect", begin);
    if (read)
      socket.on("data", (chunk) => {
        result.heard += chunk.length;
      });
    else socket.pause();
    socket.on("error", () => socket.destroy());
    socket.on("end", () => socket.destroy());
    socket.on("close", () => resolve(result));
    // what is left open on purpose needs an end
    socket.setTimeout(finish ? 60_000 : 3_000, () => socket.destroy());
  });
}

function* repeat(
  piece: Buffer,
  total: number,
  head: Buffer = Buffer.alloc(0),
  tail: Buffer = Buffer.alloc(0),
): Generator<Buffer> {
  yield head;
  for (let sent = 0; sent < total; sent += piece.length) yield piece;
  yield tail;
}
const block = (text: string): Buffer => bytes(text.repeat(Math.ceil(MEGABYTE / text.length)));

/** Memory of all processes of a program, kB: the worst one's peak, and what it has now. */
function memoryOf(instance: Instance, name: string): { peak: number; now: number; pids: number[] } {
  const pids = daemons(instance, name);
  const field = (pid: number, title: string): number => {
    try {
      const text = readFileSync(`/proc/${pid}/status`, "latin1");
      return Number(new RegExp(`^${title}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? 0);
    } catch {
      // it has ended
      return 0;
    }
  };
  return {
    peak: Math.max(0, ...pids.map((pid) => field(pid, "VmHWM"))),
    now: Math.max(0, ...pids.map((pid) => field(pid, "VmRSS"))),
    pids,
  };
}

interface Worst {
  readonly daemon: string;
  /** What the client does, for docs/security.md. */
  readonly what: string;
  readonly drive: (place: Place) => Promise<unknown>;
}

interface Place {
  readonly t: Test;
  readonly instance: Instance;
  /** A server whose replies never end. */
  readonly endless: number;
  readonly sink: number;
  readonly socket: (name: string) => string;
  readonly to: string;
}

const LINE = block("x");
const NEVER_ENDS = Number(process.env.POSTHASTE_MEGABYTES ?? 250) * MEGABYTE;

/** Many connections at once, each with a list that does not come to its end. */
const unfinishedLists =
  (name: string, head: Buffer): Worst["drive"] =>
  async ({ socket }) => {
    const results = await Promise.all(
      Array.from({ length: 25 }, () =>
        pour(socket(name), repeat(LINE, 5 * MEGABYTE, head), { finish: false }),
      ),
    );
    return results;
  };

const deliverBig = async ({ instance }: Place, recipient: string): Promise<void> => {
  const body = bytes(`Subject: big\r\n\r\n${"y".repeat(40 * MEGABYTE)}\r\n`);
  const head = `MAIL FROM:<a@example.org>\r\nRCPT TO:<${recipient}>\r\nBDAT ${body.length} LAST\r\n`;
  const before = instance.maillog().length;
  await pour(instance.smtpPort, [bytes(head), body, bytes("QUIT\r\n")], { hello: true });
  await until(
    `delivery to ${recipient}`,
    () =>
      new RegExp(`to=<${recipient}>, .*status=(sent|bounced|deferred)`).test(
        instance.maillog().slice(before),
      ),
    60,
  );
};

const WORST: ReadonlyArray<Worst> = [
  {
    daemon: "smtpd",
    what: "250 MB in one command line; 250 MB in one line of a message; 30 sessions of 20 MB each while cleanup stands still",
    async drive({ t, instance, to }) {
      await pour(instance.smtpPort, repeat(LINE, NEVER_ENDS));
      const envelope = `MAIL FROM:<a@b.c>\r\nRCPT TO:<${to}>\r\n`;
      await pour(
        instance.smtpPort,
        repeat(LINE, NEVER_ENDS, bytes(`${envelope}DATA\r\n`), bytes("\r\n.\r\nQUIT\r\n")),
        { hello: true },
      );
      const stopped = daemons(instance, "cleanup");
      for (const pid of stopped) process.kill(pid, "SIGSTOP");
      const flood = Array.from({ length: 30 }, () => {
        const head = bytes(`${envelope}BDAT ${40 * MEGABYTE} LAST\r\n`);
        return pour(instance.smtpPort, repeat(LINE, 20 * MEGABYTE, head), { finish: false, hello: true });
      });
      await new Promise((resolve) => setTimeout(resolve, 1500));
      for (const pid of stopped) process.kill(pid, "SIGCONT");
      for (const pid of daemons(instance, "cleanup")) t.ok(pid > 0);
      await Promise.race([Promise.all(flood), new Promise((resolve) => setTimeout(resolve, 3000))]);
    },
  },
  {
    daemon: "cleanup",
    what: "a header of 60 MB, 300,000 headers, 10,000 nested parts, 200,000 recipients, records that never end, on 30 connections",
    async drive({ socket, to }) {
      const envelope = Buffer.concat([list("flags", 0), record("T", "1795340000 1"), record("S", "a@b.c")]);
      const start = Buffer.concat([envelope, record("R", to), record("M", "")]);
      const many = (text: string): Buffer =>
        Buffer.concat(Array.from({ length: 1000 }, () => record("N", text)));
      const folded = many(` ${"h".repeat(1000)}`);
      const distinct = Buffer.concat(
        Array.from({ length: 1000 }, (_, n) => record("N", `X-${n}-${Math.random()}: y`)),
      );
      const nested = Array.from({ length: 10_000 }, (_, n) =>
        Buffer.concat([
          record("N", `Content-Type: multipart/mixed; boundary="b${n}"`),
          record("N", ""),
          record("N", `--b${n}`),
        ]),
      );
      const recipients = Buffer.concat(
        Array.from({ length: 1000 }, (_, n) => record("R", `user${n}.${Math.random()}@trash.test`)),
      );
      const target = socket("public/cleanup");
      await pour(target, repeat(folded, 60 * MEGABYTE, Buffer.concat([start, record("N", "Subject: long")])));
      await pour(target, repeat(distinct, 300 * distinct.length, start));
      await pour(target, [start, record("N", "MIME-Version: 1.0"), ...nested]);
      await pour(target, repeat(recipients, 200 * recipients.length, envelope));
      const huge = Buffer.concat([start, Buffer.from([0x4e, 0xff, 0xff, 0xff, 0x7f])]);
      await Promise.all(Array.from({ length: 30 }, () => pour(target, repeat(LINE, 30 * MEGABYTE, huge))));
    },
  },
  {
    daemon: "trivial-rewrite",
    what: "25 connections with an attribute of 5 MB each",
    drive: unfinishedLists("private/rewrite", bytes("request\0rewrite\0rule\0local\0address\0")),
  },
  {
    daemon: "anvil",
    what: "120,000 clients with names of 500 bytes, some of 1 MB",
    async drive({ socket }) {
      const padding = "c".repeat(480);
      await pour(
        socket("private/anvil"),
        (function* () {
          for (let n = 0; n < 50; n++)
            yield plain("request", "connect", "ident", `${n}${"i".repeat(MEGABYTE)}`);
          for (let group = 0; group < 120; group++)
            yield Buffer.concat(
              Array.from({ length: 1000 }, (_, n) =>
                plain("request", "connect", "ident", `${group}.${n}.${padding}`),
              ),
            );
        })(),
      );
    },
  },
  {
    daemon: "verify",
    what: "120,000 addresses of 400 bytes, none of them kept on disk",
    async drive({ socket }) {
      const padding = "v".repeat(400);
      await pour(
        socket("private/verify"),
        (function* () {
          for (let group = 0; group < 120; group++)
            yield Buffer.concat(
              Array.from({ length: 1000 }, (_, n) =>
                list(
                  "request",
                  "update",
                  "address",
                  `${group}.${n}${padding}@x.test`,
                  "recipient_status",
                  0,
                  "reason",
                  "",
                ),
              ),
            );
        })(),
      );
    },
  },
  {
    daemon: "proxymap",
    what: "25 connections with a key of 5 MB each",
    drive: unfinishedLists(
      "private/proxymap",
      bytes("request\0lookup\0table\0unix:passwd.byname\0instance_flags\x000\0flags\x000\0key\0"),
    ),
  },
  {
    daemon: "scache",
    what: "30,000 destinations with names of 3000 bytes, some of 1 MB",
    async drive({ socket }) {
      const save = (label: string): Buffer =>
        list("request", "save_dest", "ttl", 100, "label", label, "property", "p", "label", "e");
      const padding = "s".repeat(3000);
      await pour(
        socket("private/scache"),
        (function* () {
          for (let n = 0; n < 50; n++) yield save(`${n}${"l".repeat(MEGABYTE)}`);
          for (let group = 0; group < 30; group++)
            yield Buffer.concat(Array.from({ length: 1000 }, (_, n) => save(`${group}.${n}.${padding}`)));
        })(),
      );
    },
  },
  {
    daemon: "flush",
    what: "25 connections with a site of 5 MB each",
    drive: unfinishedLists("public/flush", bytes("request\0add\0site\0")),
  },
  {
    daemon: "bounce",
    what: "reasons of 2 MB for 50 recipients of a message, then the notice",
    async drive({ instance, socket }) {
      const id = idOf(800);
      plant(instance, "hold", id, queueFile());
      for (let n = 0; n < 50; n++)
        await exchange(
          socket("private/bounce"),
          list(
            ...[
              "nrequest",
              0,
              "flags",
              0,
              "queue_id",
              id,
              "original_recipient",
              "",
              "recipient",
              `u${n}@x.test`,
            ],
            ...["offset", 0, "dsn_orig_rcpt", "", "notify_flags", 0, "status", "5.0.0", "diag_type", "smtp"],
            ...["diag_text", "d".repeat(MEGABYTE), "mta_type", "", "mta_mname", "", "action", "failed"],
            ...["reason", "r".repeat(2 * MEGABYTE)],
          ),
          { limit: 10_000 },
        );
      await exchange(
        socket("private/bounce"),
        list(
          ...[
            "nrequest",
            1,
            "flags",
            0,
            "queue_name",
            "hold",
            "queue_id",
            id,
            "encoding",
            "8bit",
            "sendopts",
            0,
          ],
          ...["sender", "a@trash.test", "envelope_id", "", "ret_flags", 0],
        ),
        { limit: 20_000 },
      );
    },
  },
  {
    daemon: "qmgr",
    what: "a message to 60,000 recipients, 20,000 requests to look at the queue, a record that claims 200 MB",
    async drive({ instance, socket }) {
      const file = queueFile((records) => {
        const at = records.findIndex(([type]) => type === "O");
        const more = Array.from({ length: 60_000 }, (_, n): [string, string] => [
          "R",
          `u${n}@d${n % 3000}.trash.test`,
        ]);
        records.splice(at, 2, ...more);
      });
      plant(instance, "incoming", idOf(810), file);
      const hole = queueFile((records) => {
        records.splice(2);
      });
      plant(
        instance,
        "incoming",
        idOf(811),
        Buffer.concat([hole, Buffer.from([0x53, 0x80, 0xc2, 0xd7, 0x2f])]),
      );
      const path = join(instance.queue, "incoming", idOf(811));
      truncateSync(path, 1024 * MEGABYTE);
      chmodSync(path, 0o700);
      for (let n = 0; n < 20; n++)
        await Promise.all(
          Array.from({ length: 100 }, () => exchange(socket("public/qmgr"), bytes("FIDWA".repeat(200)))),
        );
      await until(
        "an idle queue manager",
        () => ["incoming", "active"].every((queue) => queueFiles(instance, queue).length === 0),
        90,
      );
    },
  },
  {
    daemon: "showq",
    what: "a listing of records that claim 200 MB, of users who may write to maildrop; 30 listings that nobody reads",
    async drive({ instance, socket }) {
      for (let n = 0; n < 5; n++) {
        const path = join(instance.queue, "maildrop", idOf(820 + n));
        writeFileSync(path, Buffer.from([0x53, 0x80, 0xc2, 0xd7, 0x2f]), { mode: 0o600 });
        truncateSync(path, 1024 * MEGABYTE);
        // complete for the lister, unreadable for pickup's user: it stays
        chownSync(path, 0, 0);
        chmodSync(path, 0o744);
      }
      const idle = Array.from({ length: 30 }, () =>
        pour(socket("public/showq"), [], { finish: false, read: false }),
      );
      for (let n = 0; n < 3; n++) instance.run("postqueue", ["-p"]);
      await Promise.race([Promise.all(idle), new Promise((resolve) => setTimeout(resolve, 500))]);
    },
  },
  {
    daemon: "pickup",
    what: "files of 60 MB with 1,000,000 recipients, and of one line; more than 100 requests at once",
    async drive({ instance, socket }) {
      const { maildrop } = { maildrop: join(instance.queue, "maildrop") };
      const submit = (id: string, content: Buffer): void => {
        writeFileSync(join(maildrop, id), content, { mode: 0o644 });
        chownSync(join(maildrop, id), 5, 60);
        chmodSync(join(maildrop, id), 0o744);
      };
      const head = Buffer.concat([record("T", "1795340000 1"), record("S", "games")]);
      const some = Buffer.concat(
        Array.from({ length: 1000 }, (_, n) => record("R", `u${n}.${"p".repeat(40)}@trash.test`)),
      );
      // no END: nobody has to deliver it
      submit(idOf(830), Buffer.concat([head, ...Array.from({ length: 1000 }, () => some)]));
      const line = Buffer.concat(Array.from({ length: 1000 }, () => record("L", "l".repeat(1000))));
      const start = Buffer.concat([head, record("R", "nobody@localhost"), record("M", "")]);
      submit(idOf(831), Buffer.concat([start, ...Array.from({ length: 60 }, () => line)]));
      await Promise.all(
        Array.from({ length: 200 }, () => exchange(socket("public/pickup"), bytes("W".repeat(100_000)))),
      );
      await until("the end of both", () => [830, 831].every((n) => !existsSync(join(maildrop, idOf(n)))));
    },
  },
  {
    daemon: "smtp",
    what: "a server whose greeting is 250 MB without a line end, one whose reply has 3,000,000 lines; a message of one line of 40 MB",
    async drive(place) {
      const { instance } = place;
      const before = instance.maillog().length;
      const send = (domain: string): Promise<string> =>
        sendMail(instance.smtpPort, "a@example.org", `x@${domain}`, "Subject: x\r\n\r\nx\r\n");
      await send("line.test");
      await send("lines.test");
      for (const domain of ["line", "lines"])
        await until(`the end of ${domain}`, () =>
          new RegExp(`to=<x@${domain}\\.test>, .*status=(deferred|bounced)`).test(
            instance.maillog().slice(before),
          ),
        );
      await deliverBig(place, "x@sink.test");
    },
  },
  {
    daemon: "local",
    what: "a message of one line of 40 MB; a command that says 250 MB; 50,000 addresses in an :include: file",
    drive: local,
  },
  {
    daemon: "virtual",
    what: "a message of one line of 40 MB",
    drive: (place) => deliverBig(place, "you@vbox.test"),
  },
  {
    daemon: "pipe",
    what: "a message of one line of 40 MB, for a command that reads nothing and says 250 MB",
    drive: (place) => deliverBig(place, "x@pipe.test"),
  },
  {
    daemon: "discard",
    what: "a message of one line of 40 MB",
    drive: (place) => deliverBig(place, "x@trash.test"),
  },
  {
    daemon: "error",
    what: "a message of one line of 40 MB",
    async drive({ instance }) {
      // smtpd would refuse it
      const body = `Subject: big\n\n${"y".repeat(40 * MEGABYTE)}\n`;
      instance.must("sendmail", ["-f", "a@trash.test", "x@broken.test"], body);
      await logged(instance, /to=<x@broken\.test>, .*status=bounced/, 60);
    },
  },
  {
    daemon: "spawn",
    what: "300 clients at once, for commands that read nothing",
    async drive({ socket }) {
      const all = Array.from({ length: 300 }, () =>
        pour(socket("private/spawned"), repeat(LINE, 3 * MEGABYTE)),
      );
      await Promise.race([Promise.all(all), new Promise((resolve) => setTimeout(resolve, 3000))]);
    },
  },
  {
    daemon: "nbdb_reindexd",
    what: "25 connections with a path of 5 MB each",
    drive: unfinishedLists("private/nbdb_reindex", bytes("request\0reindex\0nbdb_type\0hash\0nbdb_path\0")),
  },
  {
    daemon: "postlogd",
    what: "12,000 records of 8 kB, as fast as it takes them",
    async drive({ instance }) {
      const text = "p".repeat(8000);
      const before = statSync(instance.log).size;
      await Promise.all(
        Array.from({ length: 3 }, async () => {
          const script = `my $s = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Peer => $ARGV[0]) or die; for (1..4000) { $s->send($ARGV[1]) }`;
          const child = spawn("perl", [
            "-MIO::Socket::UNIX",
            "-e",
            script,
            join(instance.queue, "public/postlog"),
            text,
          ]);
          await new Promise((resolve) => child.on("close", resolve));
        }),
      );
      if (statSync(instance.log).size < before + 30 * MEGABYTE) throw new Error("nothing was logged");
    },
  },
];

async function local(place: Place): Promise<void> {
  const { instance } = place;
  writeFileSync(
    join(instance.directory, "many"),
    Array.from({ length: 50_000 }, (_, n) => `u${n}@trash.test\n`).join(""),
  );
  const before = instance.maillog().length;
  instance.must("sendmail", ["-f", "a@example.org", "talker@localhost"], "Subject: x\n\nx\n");
  await until(
    "the talker",
    () => /to=<talker@localhost>, .*status=/.test(instance.maillog().slice(before)),
    60,
  );
  instance.must("sendmail", ["-f", "a@example.org", "many@localhost"], "Subject: x\n\nx\n");
  await until("the many", () => /to=<many@localhost>, .*status=/.test(instance.maillog().slice(before)), 60);
  await deliverBig(place, "nobody@localhost");
}

/** A server that never comes to the end of what it says, and reads nothing. */
function endlessServer(t: Test): Promise<number> {
  return serve(t, (socket, count) => {
    const first = count % 2 === 0 ? LINE : block("220-x\r\n");
    let left = 250;
    const more = (): void => {
      while (left-- > 0) if (!socket.write(first)) return;
      socket.end();
    };
    socket.on("drain", more);
    more();
  });
}

function serve(t: Test, handle: (socket: Socket, count: number) => void): Promise<number> {
  let count = 0;
  const server: Server = createServer((socket) => {
    socket.on("error", () => socket.destroy());
    handle(socket, count++);
  });
  t.teardown(() => server.close());
  return new Promise((resolve) =>
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    }),
  );
}

/** Kilobytes by which the worst process of each daemon may grow over what it had: buffers in use, and what the collector has not looked at yet. */
const LIMIT = 250_000;

t.test("memory under the worst client", NEEDS_ROOT, async (t) => {
  const endless = await endlessServer(t);
  const sink = await serve(t, (socket) => {
    let data = false;
    let tail = "";
    socket.write("220 sink\r\n");
    socket.on("data", (chunk: Buffer) => {
      if (data) {
        tail = (tail + chunk.toString("latin1", Math.max(0, chunk.length - 5))).slice(-5);
        if (tail !== "\r\n.\r\n") return;
        data = false;
        socket.write("250 ok\r\n");
        return;
      }
      for (const line of chunk.toString("latin1").split("\r\n").slice(0, -1)) {
        if (line === "QUIT") socket.end();
        if (line === "DATA") [data, tail] = [true, ""];
        socket.write(line === "DATA" ? "354 go\r\n" : "250 ok\r\n");
      }
    });
  });
  const instance = await runningInstance(t, {
    mainCf: (directory) => `
message_size_limit = 100000000
mailbox_size_limit = 0
virtual_mailbox_limit = 0
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
address_verify_map =
alias_maps = inline:{ { talker = "|head -c 250000000 /dev/zero; exit 75" } { many = :include:${directory}/many } }
proxy_read_maps = proxy:unix:passwd.byname
smtp_connection_cache_destinations = never.test
transport_maps = inline:{ { trash.test = discard:x } { .trash.test = discard:x } { broken.test = error:5.2.1 broken } { pipe.test = pipe: } { line.test = smtp:[127.0.0.1]:${endless} } { lines.test = smtp:[127.0.0.1]:${endless} } { sink.test = smtp:[127.0.0.1]:${sink} } }
relay_domains = trash.test, broken.test, pipe.test, line.test, lines.test, sink.test
fast_flush_domains = never.test
virtual_mailbox_domains = vbox.test
virtual_mailbox_base = ${directory}/mail
virtual_mailbox_maps = inline:{ { you@vbox.test = vbox } }
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_minimum_uid = 1
`,
    masterCf: () =>
      "pipe unix - n n - - pipe user=nobody argv=/bin/sh -c {head -c 250000000 /dev/zero; exit 75}\nspawned unix - n n - 20 spawn user=nobody argv=/bin/sleep 1\nnbdb_reindex unix y n n - 1 nbdb_reindexd\n",
  });
  const place: Place = {
    t,
    instance,
    endless,
    sink,
    socket: (name) => join(instance.queue, name),
    to: "nobody@localhost",
  };
  await sendMail(instance.smtpPort, "a@example.org", "nobody@localhost", "Subject: warm\r\n\r\nx\r\n");
  const table: string[] = [];
  const wanted = process.env.POSTHASTE_BOUNDS?.split(",");
  for (const { daemon, what, drive } of WORST) {
    if (wanted !== undefined && !wanted.includes(daemon)) continue;
    const before = memoryOf(instance, daemon).now || 45_000;
    const started = Date.now();
    await drive(place).catch((error: unknown) => {
      throw new Error(
        `${daemon}: ${error instanceof Error ? error.message : error}\n${instance.maillog().split("\n").slice(-30).join("\n").slice(0, 8000)}`,
      );
    });
    const { peak } = memoryOf(instance, daemon);
    const grown = peak - before;
    table.push(`| ${daemon} | ${what} | ${Math.round(before / 1024)} | ${Math.round(peak / 1024)} |`);
    t.comment(`${daemon}: ${before} -> ${peak} kB in ${Date.now() - started} ms`);
    t.ok(peak > 0, `${daemon} runs`);
    t.ok(grown < LIMIT, `${daemon} grew by ${grown} kB`);
  }
  t.comment(`\n${table.join("\n")}`);
  rmSync(join(instance.mail, "nobody"), { force: true });
  t.same(crashes(instance), []);
  await stillWorks(t, instance);
  t.ok(allDaemons(instance).length > 0);
  if (wanted === undefined) await logged(instance, /attribute list from \S+ socket is too long/);
});
