/** The scenarios of `npm run bench`, by name. The bounds are what we want to keep on two processors. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Preloaded } from "../system/support/preloaded.ts";
import { measureDeferredQueue } from "./kinds/deferred_queue.ts";
import { measureIdleSessions } from "./kinds/idle_sessions.ts";
import { measureLatency } from "./kinds/latency.ts";
import { measureScaleQueue } from "./kinds/scale_queue.ts";
import { measureScaleSessions } from "./kinds/scale_sessions.ts";
import { measureSoak } from "./kinds/soak.ts";
import { measureStart } from "./kinds/start.ts";
import { measureTables } from "./kinds/tables.ts";
import { measureThroughput, type Throughput } from "./kinds/throughput.ts";
import { drained, type Sent, sendmail, smtpSink, smtpSource, timingSink } from "./load.ts";
import type { Row } from "./report.ts";
import type { Bench, System } from "./systems.ts";

export type Scenario = (bench: Bench) => Promise<Row[]>;

/** Messages by SMTP until the queue is empty. */
const sending =
  (bench: Bench, sent: Omit<Sent, "messages">) =>
  async (system: System, messages: number): Promise<void> => {
    await smtpSource(bench.reference, system, { messages, ...sent });
    await drained(system.instance);
  };

/** A throughput scenario whose mail goes to a sink. */
const relaying =
  (describe: (bench: Bench, sinkPort: number) => Throughput): Scenario =>
  async (bench) => {
    const sink = await smtpSink(bench.reference);
    try {
      return await measureThroughput(bench, describe(bench, sink.port));
    } finally {
      sink.stop();
    }
  };

const relayhost = (port: number): string => `relayhost = [127.0.0.1]:${port}\n`;

const local =
  (describe: (bench: Bench) => Throughput): Scenario =>
  (bench) =>
    measureThroughput(bench, describe(bench));

/** More than a round sends. */
const NUMBERED = 100_000;

/** b0@elsewhere.test and so on, to 50 mailboxes. Programs that deliver as users take no names that a pattern made. */
function maildirs(programs: string, directory: string): string {
  const mailboxes = join(directory, "mailboxes");
  writeFileSync(
    mailboxes,
    Array.from({ length: NUMBERED }, (_, n) => `b${n}@elsewhere.test u${n % 50}/\n`).join(""),
  );
  execFileSync(join(programs, "sbin/postmap"), [`lmdb:${mailboxes}`], { env: { MAIL_CONFIG: directory } });
  return `virtual_mailbox_domains = elsewhere.test
virtual_mailbox_base = ${directory}
virtual_mailbox_maps = lmdb:${mailboxes}
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
`;
}

/** A folder of the scenario, writable by who delivers. */
function folder(): string {
  const directory = mkdtempSync(join(tmpdir(), "posthaste-bench-"));
  execFileSync("chmod", ["1777", directory]);
  writeFileSync(join(directory, "main.cf"), "mail_owner = daemon\nsetgid_group = mail\n");
  process.once("exit", () => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Each fsync takes 5 ms longer, for both systems alike. */
function slowDisk(directory: string): string {
  const library = new Preloaded(directory, "slow_sync", "SLOW_SYNC");
  library.store(5000);
  return library.setting;
}

/** As packages have it: Postfix knows nothing else. */
const BY_POSTDROP = "maildrop_world_writable = no\n";

const RELAY = "relay of 4 kB, 20 sessions";

export const SCENARIOS: ReadonlyMap<string, Scenario> = new Map<string, Scenario>([
  [
    "relay",
    relaying((bench, port) => ({
      name: `${RELAY}, 1 message a session`,
      settings: { mainCf: relayhost(port) },
      share: 1,
      run: sending(bench, {}),
      least: 2,
      mostMemory: 1,
      observe: true,
    })),
  ],
  [
    "relay-kept",
    relaying((bench, port) => ({
      name: `${RELAY} kept open`,
      settings: { mainCf: relayhost(port) },
      share: 1,
      run: sending(bench, { more: ["-d"] }),
      least: 2,
    })),
  ],
  [
    "accept",
    local((bench) => ({
      name: "accept only (discarded), 20 sessions",
      settings: { mainCf: "default_transport = discard:silently\n" },
      share: 1,
      run: sending(bench, {}),
      least: 2.5,
      observe: true,
    })),
  ],
  [
    "maildir",
    local((bench) => ({
      name: "Maildir of 50 users (virtual)",
      settings: { mainCf: maildirs(bench.ourPrograms, folder()) },
      share: 0.5,
      run: sending(bench, { more: ["-N"] }),
      least: 1.5,
    })),
  ],
  [
    "mbox",
    local((bench) => ({
      name: "mbox of one user (local)",
      settings: { mainCf: "" },
      share: 0.5,
      run: (system, messages) =>
        sending(bench, { recipient: `${system.instance.who.recipient}@localhost` })(system, messages),
      least: 1,
    })),
  ],
  [
    "alias-50",
    relaying((bench, port) => ({
      name: "an alias of 50 remote recipients",
      settings: {
        mainCf: `${relayhost(port)}virtual_alias_maps = inline:{ { b@elsewhere.test = ${Array.from({ length: 50 }, (_, n) => `r${n}@far.test`).join(" ")} } }\n`,
      },
      // less takes under a second a round: neither system would be warm, nor its CPU more than noise
      share: 0.3,
      run: sending(bench, {}),
      least: 1,
      mostCpu: 1 / 3,
    })),
  ],
  [
    "recipients-50",
    relaying((bench, port) => ({
      name: "50 recipients by SMTP",
      settings: { mainCf: relayhost(port) },
      // less takes under a second a round: neither system would be warm, nor its CPU more than noise
      share: 0.3,
      run: sending(bench, { more: ["-r", "50"] }),
      least: 1,
      mostCpu: 1 / 3,
    })),
  ],
  [
    "1mb",
    relaying((bench, port) => ({
      name: "relay of 1 MB, 20 sessions",
      settings: { mainCf: relayhost(port) },
      share: 0.05,
      run: sending(bench, { size: 1_000_000 }),
      least: 1,
    })),
  ],
  [
    "10mb",
    relaying((bench, port) => ({
      name: "relay of 10 MB, 5 sessions",
      settings: { mainCf: `${relayhost(port)}message_size_limit = 20000000\n` },
      share: 0.005,
      run: sending(bench, { size: 10_000_000, sessions: 5 }),
      least: 1,
    })),
  ],
  [
    "sendmail",
    relaying((_, port) => ({
      name: "sendmail, one after another",
      settings: { mainCf: relayhost(port) + BY_POSTDROP },
      share: 0.05,
      run: async (system, messages) => {
        await sendmail(system, messages, 1);
        await drained(system.instance);
      },
      least: 1,
    })),
  ],
  [
    "sendmail-10",
    relaying((_, port) => ({
      name: "sendmail, ten at once",
      settings: { mainCf: relayhost(port) + BY_POSTDROP },
      share: 0.1,
      run: async (system, messages) => {
        await sendmail(system, messages, 10);
        await drained(system.instance);
      },
      least: 1,
    })),
  ],
  [
    "slow-disk",
    relaying((bench, port) => ({
      name: `${RELAY}, each fsync 5 ms longer`,
      settings: { mainCf: relayhost(port) + slowDisk(folder()) },
      share: 0.5,
      run: sending(bench, {}),
      least: 1.5,
    })),
  ],
  [
    "slow-destination",
    async (bench) => {
      const slow = await timingSink(200, () => {});
      try {
        return await relaying((_, port) => ({
          name: "one message in ten to a destination that takes 200 ms",
          settings: {
            mainCf: `transport_maps = regexp:{ {/0@/ smtp:[127.0.0.1]:${slow.port}} {/@/ smtp:[127.0.0.1]:${port}} }\n`,
          },
          share: 0.2,
          run: sending(bench, { more: ["-N"] }),
        }))(bench);
      } finally {
        slow.stop();
      }
    },
  ],
  ["idle-sessions", measureIdleSessions],
  ["latency", measureLatency],
  ["deferred", measureDeferredQueue],
  ["tables", measureTables],
  ["start", measureStart],
  ["scale-queue", measureScaleQueue],
  ["scale-sessions", measureScaleSessions],
  ["soak", measureSoak],
]);

/** Those that run only when they are named. */
export const LONG: ReadonlySet<string> = new Set(["scale-queue", "scale-sessions", "soak"]);
