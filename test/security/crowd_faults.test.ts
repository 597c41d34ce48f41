/** Known faults that show with many: submissions to one process, files that vanish under their readers, probes for unknown recipients. */
import { execFile } from "node:child_process";
import { createServer } from "node:net";
import t from "tap";
import { sendMail } from "../../packaging/smtp_hello.ts";
import {
  allDaemons,
  freePorts,
  logged,
  queueFiles,
  runningInstance,
  until,
} from "../system/support/harness.ts";
import { crashes, randomSource, stillWorks } from "../system/support/hostile.ts";
import { CountingSink, submitLoad } from "../system/support/load.ts";

t.setTimeout(240_000);

const load = (port: number, messages: number, prefix: string, to: string): ReturnType<typeof submitLoad> =>
  submitLoad({
    port,
    messages,
    sessions: 10,
    size: 300,
    from: "a@b.test",
    to: () => to,
    perConnection: 100,
    failureLimit: 10,
    prefix,
  });

t.test("CLN-15 a cleanup that takes many messages does not grow, and ends after its share", async (t) => {
  const [port] = await freePorts(1);
  const instance = await runningInstance(t, {
    mainCf: "default_transport = discard:far\nin_flow_delay = 0\nqmgr_message_active_limit = 20000\n",
    masterCf: `cleanup unix n - n - 0 cleanup -o service_client_limit=20 -o max_use=1000000
other unix n - n - 0 cleanup -o syslog_name=other -o service_client_limit=1 -o max_use=3
127.0.0.1:${port} inet n - n - - smtpd -o cleanup_service_name=other
`,
  });
  await load(instance.smtpPort, 800, "warm", "x@far.test");
  const memory = new Map(
    allDaemons(instance)
      .filter(({ command }) => command === "cleanup")
      .map((entry) => [entry.pid, entry.memory]),
  );
  await load(instance.smtpPort, 1600, "more", "x@far.test");
  const grown = allDaemons(instance).filter(({ pid }) => memory.has(pid));
  t.ok(grown.length > 0, "the same processes");
  for (const { pid, memory: after } of grown)
    t.ok(
      after < (memory.get(pid) ?? 0) + 25_000,
      `${memory.get(pid)} kB after 800 messages, ${after} after 2400`,
    );
  // one client at a time, and three of them
  await load(port ?? 0, 60, "other", "x@far.test");
  const processes = new Set(
    [...instance.maillog().matchAll(/other\/cleanup\[(\d+)\]/g)].map(([, pid]) => pid),
  );
  t.ok(processes.size >= 20, `${processes.size} processes for 60 messages`);
  t.same(crashes(instance), []);
});

t.test("QMG-03 files that are deleted, held, released and queued anew under everybody's hands", async (t) => {
  const sink = new CountingSink();
  const port = await sink.listen();
  t.teardown(() => sink.close());
  const instance = await runningInstance(t, {
    mainCf: `relayhost = [127.0.0.1]:${port}
transport_maps = inline:{ { later.test = smtp:[127.0.0.1]:1 } }
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
in_flow_delay = 0
`,
  });
  const random = randomSource(3);
  let busy = true;
  const said = new Set<string>();
  const run = (name: string, ...args: string[]): Promise<string> =>
    new Promise((resolve) =>
      execFile(
        instance.program(name),
        args,
        { env: instance.environment, maxBuffer: 1e8 },
        (error, stdout, stderr) => {
          for (const line of stderr.split("\n"))
            if (line !== "")
              said.add(line.replace(/\b[0-9A-F]{9,}\b/g, "ID").replace(/\b\d+ messages?/, "N messages"));
          if (error !== null && typeof error.code !== "number") said.add(`${name} ${error.signal}`);
          resolve(stdout);
        },
      ),
    );
  const deleted = new Set<string>();
  const meddle = async (): Promise<void> => {
    while (busy) {
      const ids = ["incoming", "active", "deferred", "hold"]
        .flatMap((queue) => queueFiles(instance, queue))
        .filter((name) => /^[0-9A-F]+$/.test(name));
      const id = ids[Math.floor(random() * ids.length)] ?? "ABCDEF012345";
      const option = (["-d", "-h", "-H", "-r", "-h", "-r"] as const)[Math.floor(random() * 6)] ?? "-h";
      if (option === "-d") deleted.add(id);
      await run("postsuper", option, id);
    }
  };
  const list = async (): Promise<void> => {
    while (busy) {
      for (const line of (await run("postqueue", "-j")).split("\n")) if (line !== "") JSON.parse(line);
      await run("postqueue", "-f");
      await run("mailq");
    }
  };
  const meddlers = [meddle(), meddle(), list()];
  const { accepted } = await load(instance.smtpPort, 400, "fast", "x@far.test");
  const { accepted: slow } = await load(instance.smtpPort, 100, "slow", "x@later.test");
  await new Promise((resolve) => setTimeout(resolve, 2500));
  busy = false;
  await Promise.all(meddlers);
  await run("postsuper", "-H", "ALL");
  // what is left is for the destination that does not answer
  await until(
    "the deliveries",
    () => {
      instance.run("postkick", ["public", "pickup", "W"]);
      instance.run("postqueue", ["-f"]);
      return !/"queue_name": "(?:maildrop|hold)"|@far\.test/.test(instance.must("postqueue", ["-j"]));
    },
    60,
  );
  const log = instance.maillog();
  t.equal(slow.size, 100);
  // what nobody deleted has arrived, and once; a copy that was made anew has another id
  const removed = [...log.matchAll(/postsuper\[\d+\]: ([0-9A-F]+): removed/g)].length;
  const arrived = [...accepted].filter((id) => sink.arrivals.has(id)).length;
  t.ok(arrived >= accepted.size - removed, `${arrived} of ${accepted.size} arrived, ${removed} were deleted`);
  t.same(
    [...sink.arrivals].filter(([, count]) => count > 1),
    [],
    "none twice",
  );
  t.notMatch(log, /panic|internal error|killed by signal|queue_file_open_error|corrupt/);
  t.same(
    [...said].filter((line) => !/^postsuper: (?:[A-Z][a-z ]+|ID): /.test(line)),
    [],
    "the commands only say what they did",
  );
  instance.must("postsuper", ["-d", "ALL"]);
  await stillWorks(t, instance);
});

t.test("QMG-11 many probes leave room for mail", async (t) => {
  const sink = new CountingSink();
  const port = await sink.listen();
  t.teardown(() => sink.close());
  // a server that never answers
  let [now, peak] = [0, 0];
  const waiting = createServer((socket) => {
    peak = Math.max(peak, ++now);
    socket.on("error", () => socket.destroy()).on("close", () => now--);
  });
  await new Promise<void>((ready) => waiting.listen(0, "127.0.0.1", ready));
  t.teardown(() => waiting.close());
  const address = waiting.address();
  const stuck = typeof address === "object" && address !== null ? address.port : 0;
  const LIMIT = 10;
  const instance = await runningInstance(t, {
    mainCf: `relayhost = [127.0.0.1]:${port}
address_verify_pending_request_limit = ${LIMIT}
address_verify_poll_count = 1
address_verify_map =
smtpd_recipient_restrictions = check_recipient_access inline:{ { stuck.test = reject_unverified_recipient } }, permit
transport_maps = inline:{ { stuck.test = smtp:[127.0.0.1]:${stuck} } }
smtp_helo_timeout = 60s
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 10000
smtpd_hard_error_limit = 10000
smtpd_recipient_limit = 2000
default_destination_concurrency_limit = 50
`,
  });
  const replies: string[] = [];
  const victims = Array.from({ length: 20 }, async (_, session) => {
    for (let index = 0; index < 20; index++) {
      const reply = await sendMail(
        instance.smtpPort,
        "a@b.test",
        `u${session}.${index}@stuck.test`,
        "x\r\n",
      ).catch(String);
      replies.push(reply);
    }
  });
  const mail: number[] = [];
  for (let index = 0; index < 5; index++) {
    const start = performance.now();
    await sendMail(instance.smtpPort, "a@b.test", "x@far.test", `X-Load-Id: ordinary${index}\r\n\r\nx\r\n`);
    await until("ordinary mail", () => sink.arrivals.get(`ordinary${index}`) === 1);
    mail.push(performance.now() - start);
  }
  await Promise.all(victims);
  t.equal(replies.length, 400);
  t.same(
    replies.filter((reply) => !/45[0-9] /.test(reply)),
    [],
  );
  t.ok(peak > 0 && peak <= LIMIT, `${peak} probes at once`);
  await logged(instance, /status=undeliverable-but-not-cached|Too many address verification requests/);
  t.ok(Math.max(...mail) < 5000, `ordinary mail took ${Math.max(...mail).toFixed(0)} ms at most`);
  t.same(crashes(instance), []);
});
