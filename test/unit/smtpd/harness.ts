/** Replays the recorded dialogues of a real Postfix against a session with an in-memory connection and stand-ins for the other daemons. */
import { openSync, readFileSync, unlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AF_INET, type Client, type NameStatus } from "../../../cmd/smtpd/client.ts";
import { converse } from "../../../cmd/smtpd/dialogue.ts";
import type { MessageStream } from "../../../cmd/smtpd/message_stream.ts";
import { openPolicy } from "../../../cmd/smtpd/policy.ts";
import type { RateClient, SessionServices } from "../../../cmd/smtpd/services.ts";
import { Session } from "../../../cmd/smtpd/session.ts";
import { resolveAddress } from "../../../cmd/trivial-rewrite/resolve.ts";
import { openSettings } from "../../../cmd/trivial-rewrite/settings.ts";
import { configurationFromText, installConfiguration } from "../../../lib/config/configuration.ts";
import { type DnsRecord, type DnsResult, dnsFailure, type QueryType } from "../../../lib/dns/types.ts";
import { setLogSinks, setLogUtf8, warning } from "../../../lib/log/log.ts";
import { Channel, type Transport } from "../../../lib/sys/channel.ts";
import { type Exchange, Peers } from "./peers.ts";

const VECTORS = new URL("../../vectors/smtpd/", import.meta.url);
const read = <T>(name: string): T => JSON.parse(readFileSync(new URL(name, VECTORS), "utf8")) as T;

interface Zone {
  readonly A: Record<string, string[]>;
  readonly TXT: Record<string, string[]>;
  readonly MX: Record<string, string[]>;
  readonly NS: Record<string, string[]>;
  readonly PTR: Record<string, string>;
  readonly SERVFAIL: string[];
  readonly SERVFAIL_suffix: string[];
}
interface Base {
  readonly "main.cf": string[];
  readonly dns: Zone;
}
export interface Step {
  readonly c?: string | null;
  readonly c_raw?: string;
  readonly c_raw_note?: string;
  readonly s?: string[];
  readonly server_closed?: boolean;
  readonly no_more_reply?: boolean;
  readonly sleep?: number;
  readonly close?: boolean;
  readonly connection?: number;
  readonly queued_header?: string[];
  readonly queue_file?: string[];
}
export interface Scenario {
  readonly name: string;
  readonly config: Record<string, string>;
  readonly client_address: string;
  readonly dialogue: Step[];
  readonly log?: string[];
  readonly exchanges?: Exchange[];
  /** Records of the notices to the postmaster. */
  readonly postmaster_notices?: string[][];
}

const base = read<Base>("base_config.json");
export const scenarios = (file: string): Scenario[] =>
  read<{ scenarios: Scenario[] }>(`${file}.json`).scenarios;

const bytesOf = (text: string): string => Buffer.from(text, "utf8").toString("latin1");
const textOf = (bytes: string): string => Buffer.from(bytes, "latin1").toString("utf8");

/** main.cf of a scenario; what a test machine cannot have is replaced. */
export function mainCf(config: Record<string, string>): string {
  const entries = new Map<string, string>();
  for (const line of base["main.cf"]) {
    const equals = line.indexOf("=");
    entries.set(line.slice(0, equals).trim(), line.slice(equals + 1).trim());
  }
  entries.set("smtpd_forbidden_commands", "CONNECT GET POST \\ .");
  entries.set("mail_version", "3.12-20260821");
  entries.set("stress", "");
  entries.set("proxy_interfaces", "192.0.2.1");
  for (const [name, value] of Object.entries(config)) entries.set(name, value);
  let text = "";
  for (const [name, value] of entries) text += `${name} = ${bytesOf(value)}\n`;
  return text;
}

function dns(name: string, type: QueryType): DnsResult {
  const zone = base.dns;
  if (zone.SERVFAIL.includes(name) || zone.SERVFAIL_suffix.some((suffix) => name.endsWith(suffix)))
    return dnsFailure("retry", name, type);
  const records: DnsRecord[] = [];
  const owner = { name, ttl: 60 };
  if (type === "A") for (const address of zone.A[name] ?? []) records.push({ ...owner, type, address });
  if (type === "TXT") for (const text of zone.TXT[name] ?? []) records.push({ ...owner, type, text });
  if (type === "NS") for (const host of zone.NS[name] ?? []) records.push({ ...owner, type, host });
  if (type === "MX")
    for (const text of zone.MX[name] ?? []) {
      const [preference = "0", host = ""] = text.split(" ");
      if (host === "") return dnsFailure("null-mx", name, type);
      records.push({ ...owner, type, preference: Number(preference), host });
    }
  if (records.length > 0) return { status: "found", records, canonicalName: name, secure: false };
  const exists = [zone.A, zone.TXT, zone.NS, zone.MX].some((part) =>
    Object.keys(part).some((owner) => owner === name || owner.endsWith(`.${name}`)),
  );
  return dnsFailure(exists ? "no-data" : "not-found", name, type);
}

function clientOf(address: string): Client {
  const common = { address, port: "54321", family: AF_INET, serverAddress: "192.0.2.1", serverPort: "20000" };
  const arpa = `${address.split(".").reverse().join(".")}.in-addr.arpa`;
  const pointer = base.dns.PTR[arpa];
  const unknown = (status: NameStatus): Client => ({
    ...common,
    name: "unknown",
    nameStatus: status,
    reverseName: pointer ?? "unknown",
    reverseStatus: pointer === undefined ? status : "ok",
  });
  if (pointer === undefined) return unknown(base.dns.SERVFAIL.includes(arpa) ? "temporary" : "permanent");
  const addresses = base.dns.A[pointer];
  if (addresses?.includes(address) !== true) {
    warning(
      `hostname ${pointer} does not resolve to address ${address}${addresses === undefined ? ": Name or service not known" : ""}`,
    );
    return unknown("forged");
  }
  return { ...common, name: pointer, nameStatus: "ok", reverseName: pointer, reverseStatus: "ok" };
}

/** A queue file in memory. */
export class MemoryStream implements MessageStream {
  readonly kind = "queue";
  readonly id = "QUEUEID";
  readonly writable = true;
  readonly full = false;
  flags = 0;
  ended = false;
  aborted = false;
  readonly records: string[] = [];
  outcome = { status: 0, reason: "" };
  sendFlags(flags: number): void {
    this.flags = flags;
  }
  put(type: number, data: string | Uint8Array = ""): void {
    this.records.push(
      String.fromCharCode(type) + (typeof data === "string" ? data : Buffer.from(data).toString("latin1")),
    );
  }
  putSlice(type: number, source: Buffer, start: number, end: number): void {
    this.records.push(String.fromCharCode(type) + source.toString("latin1", start, end));
  }
  putAttribute(name: string, value: string | number): void {
    this.records.push(`A${name}=${value}`);
  }
  async flush(): Promise<void> {}
  async finish(): Promise<{ status: number; reason: string }> {
    this.ended = true;
    return this.outcome;
  }
  abort(): void {
    this.aborted = true;
  }
  /** Content lines, pieces joined. */
  get content(): string[] {
    const start = this.records.indexOf("M");
    const lines: string[] = [];
    let part = "";
    for (const record of this.records.slice(start + 1)) {
      if (record[0] === "X") break;
      part += record.slice(1);
      if (record[0] !== "N") continue;
      lines.push(part);
      part = "";
    }
    return lines;
  }
}

class Anvil {
  private readonly counts = new Map<
    string,
    { count: number; rate: number; message: number; recipient: number }
  >();
  client(): RateClient {
    let own = { count: 0, rate: 0, message: 0, recipient: 0 };
    return {
      connect: async (ident) => {
        own = this.counts.get(ident) ?? own;
        this.counts.set(ident, own);
        own.count++;
        own.rate++;
        return own;
      },
      count: async (event) => ++own[event],
      disconnect: async () => {
        own.count--;
      },
    };
  }
}

export interface Dialogue {
  readonly channel: Channel;
  readonly session: Session;
  readonly finished: Promise<void>;
  /** Everything sent to the client, as it came. */
  output: string;
  closed: boolean;
  writes: number;
}

const open = new Set<Dialogue>();
let spools = 0;

/** Hangs up all connections, so that no timer keeps the test alive. */
export async function hangUpAll(): Promise<void> {
  for (const dialogue of open) {
    dialogue.channel.onEnd();
    await dialogue.finished;
  }
}

/** Everything around the sessions of one configuration. */
export class Stage {
  readonly log: string[] = [];
  readonly messages: MemoryStream[] = [];
  readonly notices: { sender: string; recipient: string; lines: readonly string[] }[] = [];
  private readonly anvil = new Anvil();
  outcome = { status: 0, reason: "" };
  /** Servers that the session talks to. */
  peers = new Peers([]);

  private constructor(
    private readonly policy: Awaited<ReturnType<typeof openPolicy>>,
    private readonly route: Awaited<ReturnType<typeof openSettings>>,
    readonly standAlone: boolean,
  ) {}

  static async open(config: Record<string, string>, standAlone = false): Promise<Stage> {
    // The scenarios configure smtpd alone.
    installConfiguration(configurationFromText(mainCf({}), { processName: "trivial-rewrite" }));
    const route = await openSettings();
    installConfiguration(
      configurationFromText(mainCf(config), { processName: "smtpd", serviceName: "smtp" }),
    );
    const log: string[] = [];
    setLogUtf8(true);
    setLogSinks([
      ({ level, text }) => {
        log.push(textOf(level === "info" ? text : `${level}: ${text}`));
      },
    ]);
    const opened = await openPolicy();
    const own = [...Array(45).keys()].map((n) => `192.0.2.${n}`);
    const policy = { ...opened, ownAddresses: new Set([...opened.ownAddresses, "127.0.0.1", ...own]) };
    const stage = new Stage(policy, route, standAlone);
    stage.log.push(...log);
    setLogSinks([
      ({ level, text }) => {
        stage.log.push(textOf(level === "info" ? text : `${level}: ${text}`));
      },
    ]);
    return stage;
  }

  private services(): SessionServices {
    return {
      resolve: async (sender, address) => {
        const before = this.log.length;
        const resolved = await resolveAddress(sender, address, this.route.route, this.route.resolve);
        // These lines would be trivial-rewrite's own.
        this.log.length = before;
        return resolved;
      },
      lookup: async (name, type) => dns(name, type),
      connect: async (endpoint, seconds) => this.peers.connect(endpoint, seconds),
      verify: async () => ({ outcome: "deliverable", reason: "" }),
      expectMessage: () => undefined,
      openMessage: async () => {
        const stream = new MemoryStream();
        stream.outcome = this.outcome;
        this.messages.push(stream);
        return stream;
      },
      openSpool: () => {
        const path = join(tmpdir(), `posthaste-spool-${process.pid}-${spools++}`);
        const fd = openSync(path, "wx+", 0o600);
        unlinkSync(path);
        return fd;
      },
      flushSite: async (site) => (site === "relay.test" || site.endsWith(".relay.test") ? 0 : 4),
      sendNotice: async (notice) => {
        this.notices.push(notice);
      },
      freeSpace: () => ({ blockSize: 4096, blocks: 20_091_824 }),
      now: () => ({ seconds: Math.floor(Date.now() / 1000), microseconds: 1 }),
      sleep: (seconds) =>
        new Promise((resolve) => {
          if (seconds === 0) setImmediate(resolve);
          else setTimeout(resolve, seconds * 1000);
        }),
      rates: () => this.anvil.client(),
    };
  }

  private shared: SessionServices | undefined;

  connect(address: string, service = "0.0.0.0:20000"): Dialogue {
    const channel = new Channel(`${service} socket`);
    this.shared ??= this.services();
    const client = this.policy.settings.peernameLookup
      ? clientOf(address)
      : {
          ...clientOf(address),
          name: "unknown",
          nameStatus: "permanent" as const,
          reverseName: "unknown",
          reverseStatus: "permanent" as const,
        };
    const session = new Session(channel, this.policy, this.shared, {
      client,
      service,
      standAlone: this.standAlone,
      piped: this.standAlone,
      failed: false,
      screened: false,
    });
    const dialogue: Dialogue = {
      channel,
      session,
      finished: Promise.resolve(),
      output: "",
      closed: false,
      writes: 0,
    };
    const transport: Transport = {
      write(bytes) {
        dialogue.output += Buffer.from(bytes).toString("latin1");
        dialogue.writes++;
        return bytes.length;
      },
      end() {},
      terminate() {},
      pause() {},
      resume() {},
    };
    channel.attach(transport);
    (dialogue as { finished: Promise<void> }).finished = converse(session).then(() => {
      dialogue.closed = true;
      open.delete(dialogue);
    });
    open.add(dialogue);
    return dialogue;
  }
}

const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

const replies = (output: string): string[] =>
  output === "" ? [] : output.split("\r\n").slice(0, -1).map(textOf);

/** A value of a scenario's configuration as postconf would hold it: `$$` stands for `$` where Postfix expands. */
const configOf = (scenario: Scenario): Record<string, string> => scenario.config;

/** Runs a scenario; what differs from the recording. */
export async function replay(scenario: Scenario): Promise<string[]> {
  const differences: string[] = [];
  const stage = await Stage.open(configOf(scenario));
  stage.peers = new Peers(scenario.exchanges ?? []);
  const connections = new Map<number, Dialogue>();
  const dialogueOf = (number: number): Dialogue => {
    let dialogue = connections.get(number);
    if (dialogue === undefined) {
      dialogue = stage.connect(scenario.client_address);
      connections.set(number, dialogue);
    }
    return dialogue;
  };
  for (const step of scenario.dialogue) {
    const first = scenario.dialogue[0];
    // Input that was sent before the banner came.
    const fresh = !connections.has(step.connection ?? 1);
    const dialogue = dialogueOf(step.connection ?? 1);
    if (fresh && step !== first && step.connection !== undefined) await settle(dialogue, 1);
    if (fresh && step.connection !== undefined && step.c !== null && step.s?.[0]?.startsWith("4") !== true)
      dialogue.output = "";
    if (step.sleep !== undefined) {
      await pause(step.sleep * 1000);
      continue;
    }
    if (step.queued_header !== undefined) {
      compareHeader(stage, step.queued_header, differences);
      continue;
    }
    if (step.queue_file !== undefined) continue;
    const wanted = step.s ?? [];
    const input =
      step.c_raw !== undefined ? rawInput(step) : typeof step.c === "string" ? `${bytesOf(step.c)}\r\n` : "";
    if (input !== "" && !dialogue.closed) dialogue.channel.onData(Buffer.from(input, "latin1"));
    if (step.close === true) {
      dialogue.channel.onEnd();
      await dialogue.finished;
      continue;
    }
    await settle(dialogue, wanted.length, step.server_closed === true);
    const lines = replies(dialogue.output);
    // What comes of itself is read by a later step.
    const got = (step.s === undefined ? lines : lines.slice(0, wanted.length)).map(normalize);
    const rest = step.s === undefined ? [] : lines.slice(wanted.length);
    dialogue.output = rest.map((line) => `${bytesOf(line)}\r\n`).join("");
    if (step.server_closed === true && !dialogue.closed)
      differences.push(`not closed after ${step.c ?? step.c_raw}`);
    if (step.s !== undefined && JSON.stringify(got) !== JSON.stringify(step.s))
      differences.push(
        `${JSON.stringify(step.c ?? step.c_raw?.slice(0, 80))}: got ${JSON.stringify(got)}, want ${JSON.stringify(step.s)}`,
      );
  }
  for (const dialogue of connections.values()) {
    if (dialogue.output !== "" && !dialogue.closed) differences.push(`more output: ${dialogue.output}`);
    dialogue.channel.onEnd();
    await dialogue.finished;
  }
  differences.push(...stage.peers.finish());
  if (scenario.postmaster_notices !== undefined && !EARLIER_NOTICES.has(scenario.name))
    compareNotices(stage, scenario.postmaster_notices, differences);
  if (scenario.log !== undefined) compareLog(stage, scenario.log, differences);
  return differences;
}

const normalize = (line: string): string => line.replace(/\b54321\b/g, "CLIENTPORT");

function rawInput(step: Step): string {
  const text = step.c_raw ?? "";
  const total = /total ([0-9]+) bytes/.exec(step.c_raw_note ?? "");
  if (total === null) return text;
  const size = Number(total[1]);
  return (
    text + text.slice(-1).repeat(Math.max(0, size - text.length - 2)) + (size > text.length ? "\r\n" : "")
  );
}

async function settle(dialogue: Dialogue, lines: number, closing = false): Promise<void> {
  const start = performance.now();
  while (performance.now() - start < 4000) {
    await pause(1);
    if (dialogue.closed) break;
    if (!closing && replies(dialogue.output).length >= lines && performance.now() - start > 3) break;
  }
  await pause(2);
}

function compareHeader(stage: Stage, want: string[], differences: string[]): void {
  const message = stage.messages.at(-1);
  const got = (message?.content ?? []).map((line) =>
    textOf(line).replace(
      /[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} [+-][0-9]{4} \([A-Z]+\)/,
      "DATE",
    ),
  );
  // What smtpd itself writes: all up to the headers that cleanup adds.
  const own = want.filter((line) => !/^(?:Message-Id|Date|From):/.test(line));
  for (const [index, line] of own.entries()) {
    if (line === got[index]) continue;
    differences.push(`header ${index}: got ${JSON.stringify(got[index])}, want ${JSON.stringify(line)}`);
  }
}

/** Its recorded notice is that of the scenario before. */
const EARLIER_NOTICES = new Set(["notify_policy"]);

/** The transcripts for the postmaster, as they are handed to cleanup. */
function compareNotices(stage: Stage, recorded: string[][], differences: string[]): void {
  const want = recorded.map((records) => {
    const end = records.findIndex((line) => line.startsWith("*** HEADER EXTRACTED"));
    const line = (start: string): string => records.find((record) => record.startsWith(start)) ?? "";
    return {
      sender: line("sender: ").slice(8),
      recipient: line("original_recipient: ").slice(20),
      lines: [
        line("From: "),
        line("To: "),
        line("Subject: "),
        ...records.slice(records.indexOf("Transcript of session follows.") - 1, end),
      ],
    };
  });
  // cleanup adds the domain
  const header = (line: string): string =>
    textOf(line).replace("<postmaster>", "<postmaster@mail.example.com>");
  const got = stage.notices.map((notice) => ({ ...notice, lines: notice.lines.map(header) }));
  if (JSON.stringify(got) !== JSON.stringify(want))
    differences.push(`notices: got ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
}

function compareLog(stage: Stage, recorded: string[], differences: string[]): void {
  const want = recorded
    .filter((line) => line.startsWith("postfix/smtpd: "))
    .map((line) => line.slice("postfix/smtpd: ".length))
    .filter((line) => !IGNORED.test(line));
  const got = stage.log.map((line) => normalize(line)).filter((line) => !IGNORED.test(line));
  const count = (lines: string[]): Map<string, number> => {
    const counts = new Map<string, number>();
    for (const line of lines) counts.set(line, (counts.get(line) ?? 0) + 1);
    return counts;
  };
  const gotCounts = count(got.map(services));
  const wantCounts = count(want.map(services));
  for (const [line, n] of wantCounts)
    if ((gotCounts.get(line) ?? 0) < n) differences.push(`log lacks: ${line}`);
  for (const [line, n] of gotCounts)
    if ((wantCounts.get(line) ?? 0) < n) differences.push(`log has: ${line}`);
}

const services = (line: string): string => line.replace(/0\.0\.0\.0:[0-9]+/g, "0.0.0.0:20000");
/** Lines of tables, whose paths differ. */
const IGNORED = /is unavailable\.|open database|nonexistent|bytes < 1\.5/;
