/** Plays scenarios against a running mail system: a service for each configuration, its log under a name of its own. */
import { closeSync, existsSync, fstatSync, mkdirSync, openSync, readSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import type { Instance } from "../../../packaging/instance.ts";
import { freePorts, until } from "../support/harness.ts";
import { FilterServer, NameServer, PolicyServer } from "./peers.ts";
import { normal, readScript, type Scenario, scriptFiles, writeScript } from "./script.ts";

/** What all services share. */
const MAIN_CF = `
myhostname = mail.example.com
mydomain = example.com
mydestination = mail.example.com, localhost
mynetworks = 127.0.0.0/24
alias_maps =
local_transport = discard:
default_transport = discard:
relay_transport = discard:
virtual_transport = discard:
local_recipient_maps = inline:{user=x, user2=x, alias=x}
virtual_alias_domains = alias.test
virtual_alias_maps = inline:{info@alias.test=user@mail.example.com}
virtual_mailbox_domains = vmail.test
virtual_mailbox_maps = inline:{box@vmail.test=x}
relay_domains = relay.test, undeliv.test, deferred.test
relay_recipient_maps = inline:{ {ok@relay.test = x} {@undeliv.test = x} {@deferred.test = x} }
transport_maps = inline:{ {undeliv.test = error:5.1.1 no such domain} {deferred.test = retry:4.4.1 busy} }
fast_flush_domains = relay.test
address_verify_map =
address_verify_poll_delay = 1s
smtpd_error_sleep_time = 0
smtpd_tls_security_level = none
debug_peer_list =
max_idle = 2s
`;

interface Placed {
  readonly file: string;
  readonly scenario: Scenario;
}

/** A scenario as it is written, and as it went. */
export interface Played {
  readonly file: string;
  readonly want: Scenario;
  readonly got: Scenario;
}

/** Scenarios with the same settings share a service. */
interface ScriptService {
  readonly tag: string;
  port: number;
  readonly config: readonly string[];
  readonly policy: PolicyServer;
  readonly filter: FilterServer;
  readonly placed: Placed[];
}

/** Lines of the mail log by the name they were logged under. */
class LogTail {
  private offset = 0;
  private rest = "";
  private readonly lines = new Map<string, string[]>();

  constructor(private readonly path: string) {}

  of(tag: string): string[] {
    this.read();
    return this.lines.get(tag) ?? [];
  }

  private read(): void {
    if (!existsSync(this.path)) return;
    const fd = openSync(this.path, "r");
    const size = fstatSync(fd).size;
    const bytes = Buffer.alloc(Math.max(0, size - this.offset));
    this.offset += readSync(fd, bytes, 0, bytes.length, this.offset);
    closeSync(fd);
    const text = this.rest + bytes.toString("latin1");
    const lines = text.split("\n");
    this.rest = lines.pop() ?? "";
    for (const line of lines) {
      const match = /^[A-Z][a-z]{2} .{11} \S+ (script[0-9]+)\/smtpd\[[0-9]+\]: (.*)$/.exec(line);
      if (match === null) continue;
      const [, tag = "", message = ""] = match;
      const known = this.lines.get(tag);
      if (known === undefined) this.lines.set(tag, [message]);
      else known.push(message);
    }
  }
}

/** The services of all scripts, ready to be put into a configuration. */
export class Stage {
  private readonly services: ScriptService[] = [];
  private readonly dns = new NameServer(`127.77.${process.pid % 250}.53`);

  /** Reads the scripts (all of them, or those named in ONLY; each `every`-th otherwise) and starts the servers beside the mail system. */
  static async open(every = 1): Promise<Stage> {
    const stage = new Stage();
    await stage.dns.start();
    const byConfig = new Map<string, ScriptService>();
    const only = (process.env.ONLY === "" ? undefined : process.env.ONLY)?.split(",");
    let serial = 0;
    for (const file of scriptFiles())
      for (const scenario of readScript(file)) {
        if (
          only === undefined ? serial++ % every !== 0 : !only.includes(scenario.name) && !only.includes(file)
        )
          continue;
        const key = JSON.stringify([scenario.config, scenario.filter]);
        let service = byConfig.get(key);
        if (service === undefined) {
          service = {
            tag: `script${stage.services.length}`,
            port: 0,
            config: scenario.config,
            policy: await new PolicyServer().start(),
            filter: await new FilterServer(scenario.filter ?? "").start(),
            placed: [],
          };
          byConfig.set(key, service);
          stage.services.push(service);
        }
        service.placed.push({ file, scenario });
      }
    const ports = await freePorts(stage.services.length);
    for (const [index, service] of stage.services.entries()) service.port = ports[index] ?? 0;
    return stage;
  }

  close(): void {
    this.dns.stop();
    for (const { policy, filter } of this.services) {
      policy.stop();
      filter.stop();
    }
  }

  readonly mainCf = MAIN_CF;

  get masterCf(): string {
    return this.services
      .map(({ tag, port, config, policy, filter }) => {
        const options = config.map((line) =>
          line
            .replaceAll("POLICYPORT", String(policy.port))
            .replaceAll("FILTERPORT", String(filter.port))
            .replaceAll("DEADPORT", "9"),
        );
        const lines = [`syslog_name = ${tag}`, ...options].map((line) => `    -o { ${line} }\n`);
        return `127.0.0.1:${port} inet n - y - - smtpd\n${lines.join("")}`;
      })
      .join("");
  }

  /** Puts the name server's address where chrooted daemons look for it. */
  prepareJail(instance: Instance): void {
    mkdirSync(join(instance.queue, "etc"), { recursive: true });
    writeFileSync(
      join(instance.queue, "etc/resolv.conf"),
      `nameserver ${this.dns.address}\noptions timeout:1 attempts:1\n`,
    );
  }

  /** Plays everything; gives what happened, as scripts. `recording`: replies are awaited without knowing them. */
  async play(instance: Instance, recording: boolean): Promise<Played[]> {
    const tail = new LogTail(instance.log);
    const played: Played[] = [];
    const waiting = [...this.services];
    const attempt = (service: ScriptService, scenario: Scenario): Promise<Scenario> =>
      playScenario(instance, service, scenario, tail, recording).catch((error: unknown) => {
        if (recording) console.error(`# ${scenario.name}: ${error}`);
        return { ...scenario, steps: [], log: [String(error)] };
      });
    const worker = async (): Promise<void> => {
      for (let service = waiting.shift(); service !== undefined; service = waiting.shift())
        for (const { file, scenario } of service.placed)
          played.push({ file, want: scenario, got: await attempt(service, scenario) });
    };
    await Promise.all(Array.from({ length: 4 }, worker));
    return played;
  }

  /** Writes what was recorded into the scripts. */
  write(played: readonly Played[]): void {
    for (const file of new Set(played.map((one) => one.file)))
      writeScript(
        file,
        readScript(file).map(
          (scenario) => played.find(({ want }) => want.name === scenario.name)?.got ?? scenario,
        ),
      );
  }
}

class Connection {
  readonly lines: string[] = [];
  closed = false;
  /** Queue ID of the last message. */
  queued = "";
  private buffered = "";

  private constructor(private readonly socket: Socket) {
    socket.on("data", (chunk) => {
      this.buffered += chunk.toString("utf8");
      for (let end = this.buffered.indexOf("\n"); end >= 0; end = this.buffered.indexOf("\n")) {
        const line = this.buffered.slice(0, end).replace(/\r$/, "");
        this.lines.push(line);
        this.queued = /queued as ([0-9A-F]+)$/.exec(line)?.[1] ?? this.queued;
        this.buffered = this.buffered.slice(end + 1);
      }
    });
    const gone = (): void => {
      this.closed = true;
    };
    socket.on("end", gone);
    socket.on("close", gone);
    socket.on("error", gone);
  }

  static async open(address: string, port: number): Promise<Connection> {
    const socket = connect({ host: "127.0.0.1", port, localAddress: address });
    const connection = new Connection(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    return connection;
  }

  send(bytes: Buffer): void {
    if (!this.socket.destroyed) this.socket.write(bytes);
  }
  hangUp(): void {
    this.socket.destroy();
  }
}

const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Seconds that a server may take for a reply. */
const PATIENCE = 20;

/** Reply lines that came with a step; `closed` at the end when the server closed. */
async function repliesTo(
  connection: Connection,
  wanted: readonly string[],
  recording: boolean,
): Promise<string[]> {
  const deadline = Date.now() + PATIENCE * 1000;
  const complete = (): boolean => connection.closed || isComplete(connection.lines);
  if (recording) {
    while (!complete() && Date.now() < deadline) await pause(5);
    // more of a group, or the end of the connection, comes soon
    for (let before = -1; before !== connection.lines.length && !connection.closed; ) {
      before = connection.lines.length;
      await pause(60);
    }
  } else {
    const count = wanted.filter((line) => line !== "closed").length;
    const closing = wanted.includes("closed");
    while (Date.now() < deadline && !connection.closed) {
      if (!closing && connection.lines.length >= count && complete()) break;
      await pause(2);
    }
  }
  return [...connection.lines.splice(0).map(normal), ...(connection.closed ? ["closed"] : [])];
}

const isComplete = (lines: readonly string[]): boolean => lines.at(-1)?.[3] === " " || false;

/** The records of a message on hold, as postcat(1) shows them. */
function queueFile(instance: Instance, id: string): string[] {
  if (id === "") return ["no message was accepted"];
  const text = instance.must("postcat", ["-e", "-h", "-b", "-q", id]);
  return text
    .split("\n")
    .filter((line) => line !== "" && !/^(?:message_size|\*\*\*)/.test(line))
    .map((line) => normal(Buffer.from(line, "latin1").toString("utf8")));
}

async function playScenario(
  instance: Instance,
  service: ScriptService,
  scenario: Scenario,
  tail: LogTail,
  recording: boolean,
): Promise<Scenario> {
  const before = tail.of(service.tag).length;
  service.policy.asked = [];
  service.filter.heard = [];
  const connections: Connection[] = [];
  let current: Connection | undefined;
  const steps: Scenario["steps"] = [];
  for (const { line, step, replies: wanted } of scenario.steps) {
    let replies: string[] = [];
    switch (step.kind) {
      case "client":
        current = await Connection.open(step.address, service.port);
        connections.push(current);
        if (wanted.length > 0 || recording)
          replies = await firstReplies(current, wanted, recording, scenario);
        break;
      case "wake":
        current = await Connection.open("127.0.0.1", service.port);
        connections.push(current);
        await until(
          "a line in the log",
          () => tail.of(service.tag).some((text) => /^(?:fatal|connect)\b/.test(text)),
          PATIENCE,
        );
        break;
      case "switch":
        current = connections[step.number - 1];
        break;
      case "queue file":
        if (current !== undefined) replies = queueFile(instance, current.queued);
        break;
      case "sleep":
        await pause(step.seconds * 1000);
        break;
      case "hangup":
        current?.hangUp();
        break;
      case "send":
        if (current === undefined) throw new Error(`${scenario.name}: no client for ${line}`);
        current.send(step.bytes);
        if (step.answered) replies = await repliesTo(current, wanted, recording);
    }
    steps.push({ line, step, replies });
  }
  for (const connection of connections) connection.hangUp();
  const log = await until(
    `the end of ${scenario.name} in the log`,
    () => {
      const lines = tail.of(service.tag).slice(before);
      const ends = lines.filter((text) => /^(?:disconnect from |fatal: )/.test(text)).length;
      return ends >= connections.length && lines;
    },
    PATIENCE,
  );
  return {
    ...scenario,
    steps,
    log: log.map((text) => normal(Buffer.from(text, "latin1").toString("utf8"))),
    asked:
      !scenario.unasked && scenario.config.some((text) => text.includes("POLICYPORT"))
        ? service.policy.asked.map(normal).filter((text) => text !== NEWER)
        : [],
    heard: scenario.filter === undefined ? [] : service.filter.heard.map(normal),
  };
}

/** An attribute that Postfix 3.12 has and 3.11, which the scripts were recorded from, has not. */
const NEWER = "tls_sni=";

/** The greeting; a client that is expected to speak first (PROXY protocol) has none to wait for. */
const firstReplies = (
  connection: Connection,
  wanted: readonly string[],
  recording: boolean,
  { config }: Scenario,
): Promise<string[]> | string[] =>
  recording && config.some((line) => line.startsWith("smtpd_upstream_proxy_protocol"))
    ? []
    : repliesTo(connection, wanted, recording);

/** What differs between two runs of a scenario, line by line. */
export function differences(want: Scenario, got: Scenario): string[] {
  const found: string[] = [];
  for (const [index, { line, replies }] of want.steps.entries()) {
    const other = got.steps[index]?.replies ?? [];
    if (JSON.stringify(replies) !== JSON.stringify(other))
      found.push(`${line}\n  want ${JSON.stringify(replies)}\n  got  ${JSON.stringify(other)}`);
  }
  for (const part of ["log", "asked", "heard"] as const)
    for (let index = 0; index < Math.max(want[part].length, got[part].length); index++)
      if (want[part][index] !== got[part][index])
        found.push(`${part} ${index}\n  want ${want[part][index]}\n  got  ${got[part][index]}`);
  return found;
}
