/**
 * Two systems with the same configuration, one of the real Postfix's programs and one of ours: the same mail must leave the same log lines, the
 * same replies and the same mailboxes, byte for byte but for ids, dates and places.
 */
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import type { Instance } from "../../../packaging/instance.ts";
import { logged, queueFiles, until } from "../../system/support/harness.ts";
import { type Script, ScriptedServer, type Transcript } from "../../unit/smtp-client/harness.ts";
import { command, mixedInstance } from "./mixed.ts";
import { inNetwork, nameServer, withoutNetwork, type Zones } from "./network.ts";
import type { Reference } from "./reference.ts";

/** A message on its way in. */
export interface Mail {
  readonly name: string;
  readonly from?: string;
  /** Recipients; for SMTP each with its parameters: `a@b NOTIFY=NEVER`. */
  readonly to?: ReadonlyArray<string>;
  /** Parameters of MAIL FROM: `RET=HDRS ENVID=x`. */
  readonly parameters?: string;
  /** Header and body, lines end with LF; NAME is replaced by the name. */
  readonly text?: string;
  /** Arguments of sendmail in place of an SMTP session; they come before the recipients. */
  readonly sendmail?: ReadonlyArray<string>;
  /** What is done in the instance's directory before. */
  readonly before?: (directory: string) => void;
}

/** The port, or the path, of a server of this system. */
export type Place = (server: string) => number | string;

export interface Scene {
  readonly mainCf?: (directory: string, place: Place) => string;
  /** Services besides the stock ones. */
  readonly masterCf?: (directory: string, place: Place) => string;
  /** Scripted servers by name, two of each; those that `unix` names listen at sockets. What they hear is compared. */
  readonly servers?: Readonly<Record<string, Script>>;
  readonly unix?: ReadonlyArray<string>;
  /** Servers at addresses of a network of their own, `NET.0.10` or `NET6:10`, with a port where it is not 25. */
  readonly addresses?: Readonly<Record<string, string>>;
  /** What the name server of such a network knows, with `NET.` and `NET6:` too. */
  readonly zones?: Zones;
  /** Files of /etc that only the two systems see. */
  readonly etc?: Readonly<Record<string, string>>;
  /** Log lines that differ by design. */
  readonly ignore?: RegExp;
  /** Makes tables, home directories and scripts before the start. */
  readonly prepare?: (directory: string) => void;
}

const TEXT = "From: A Sender <a@sender.test>\nTo: someone@posthaste.test\nSubject: NAME\n\nbody of NAME\n";

/** The texts for people differ by design, so both systems get the same. */
const TEMPLATES = ["failure", "delay", "success", "verify"]
  .map(
    (name) =>
      `${name}_template = <<EOF\nSubject: ${name} report\n\nA ${name} report of $myhostname.\nEOF\n\n`,
  )
  .join("");

/** One process of each kind: nobody waits for the lock of a mailbox. */
const STOCK = `local unix - n n - 1 local
virtual unix - n n - 1 virtual
`;

function mainCfOf(directory: string, scene: Scene, place: Place): string {
  const given = scene.mainCf?.(directory, place) ?? "";
  const common = [
    `bounce_template_file = ${directory}/config/bounce.cf`,
    "smtp_log_tls_feature_status = no",
    "smtpd_reject_unlisted_recipient = no",
    "default_transport = discard:far away",
  ];
  return [...common.filter((line) => !given.includes(`${line.split(" =", 1)[0]} =`)), given].join("\n");
}

async function startNameServer(t: Test, zones: Zones, side: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "posthaste-nsd-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const place = (text: string): string => inNetwork(text, side);
  await nameServer(t, folder, place("NET.0.53"), {
    records: place(zones.records),
    broken: zones.broken.map(place),
    own: Object.fromEntries(
      Object.entries(zones.own ?? {}).map(([name, records]) => [place(name), place(records)]),
    ),
  });
}

function prepare(directory: string, programs: Reference, scene: Scene, side: number): void {
  for (const name of ["mail", "config"]) mkdirSync(join(directory, name), { recursive: true });
  chmodSync(join(directory, "mail"), 0o1777);
  writeFileSync(join(directory, "config/bounce.cf"), TEMPLATES);
  const library = (type: string): string => join(programs.libexec, `../lib/postfix-${type}.so`);
  writeFileSync(
    join(directory, "config/dynamicmaps.cf"),
    `cdb ${library("cdb")} dict_cdb_open mkmap_cdb_open\npcre ${library("pcre")} dict_pcre_open\n`,
  );
  const etc = Object.entries({
    ...(scene.zones === undefined ? {} : { "resolv.conf": "nameserver NET.0.53\n" }),
    ...scene.etc,
  });
  if (etc.length > 0) mkdirSync(join(directory, "etc"));
  for (const [name, text] of etc) writeFileSync(join(directory, "etc", name), inNetwork(text, side));
  scene.prepare?.(directory);
}

/** The scripted servers of one system. */
class Servers {
  readonly #servers = new Map<string, ScriptedServer>();
  /** Names of those whose ports are the same in both systems. */
  #fixed: ReadonlySet<string> = new Set();

  static async start(t: Test, scene: Scene, side: number): Promise<Servers> {
    const servers = new Servers();
    for (const [name, script] of Object.entries(scene.servers ?? {})) {
      const server = new ScriptedServer(script);
      servers.#servers.set(name, server);
      const [address, port = "25"] = scene.addresses?.[name]?.split(" ") ?? [];
      if (address !== undefined) await server.startAt(inNetwork(address, side), Number(port));
      else if (scene.unix?.includes(name) !== true) await server.start();
      t.teardown(() => server.stop());
    }
    servers.#fixed = new Set(Object.keys(scene.addresses ?? {}));
    return servers;
  }

  /** Opens the sockets, where all may connect. */
  async listen(directory: string, unix: ReadonlyArray<string>): Promise<void> {
    mkdirSync(join(directory, "servers"));
    for (const name of unix) {
      const path = join(directory, "servers", name);
      await this.#servers.get(name)?.start(path);
      chmodSync(path, 0o777);
    }
  }

  place(directory: string): Place {
    return (name) => {
      const server = this.#servers.get(name);
      if (server === undefined) throw new Error(`no server ${name}`);
      return server.port === 0 ? join(directory, "servers", name) : server.port;
    };
  }

  /** Ports by their names. */
  named(text: string): string {
    let out = text;
    for (const [name, { port }] of this.#servers)
      if (port !== 0 && !this.#fixed.has(name)) out = out.replaceAll(`:${port}`, `:<${name}>`);
    return out;
  }

  /** What was said since the last time, the sessions of a server in any order. */
  take(): string[] {
    return [...this.#servers].flatMap(([name, server]) =>
      server.transcripts
        .splice(0)
        // when a kept connection ends is up to its time limit
        .map((transcript: Transcript) => transcript.flat().filter((line) => line !== "C: <EOF>"))
        .map((lines) => lines.map((line) => `${name} | ${line}`))
        .sort((a, b) => (a.join("\n") < b.join("\n") ? -1 : 1))
        .flat(),
    );
  }
}

export class Twins {
  private constructor(
    readonly ours: Instance,
    readonly real: Instance,
    readonly servers: readonly [Servers, Servers],
    readonly scene: Scene,
  ) {}

  static async start(t: Test, programs: Reference, scene: Scene): Promise<Twins> {
    const servers = [await Servers.start(t, scene, 0), await Servers.start(t, scene, 1)] as const;
    const make = (side: 0 | 1): Promise<Instance> => {
      return mixedInstance(
        t,
        programs,
        { base: side === 0 ? "ours" : "real", swapped: [] },
        (directory) => {
          prepare(directory, programs, scene, side);
          return inNetwork(mainCfOf(directory, scene, servers[side].place(directory)), side);
        },
        (directory) =>
          inNetwork(STOCK + (scene.masterCf?.(directory, servers[side].place(directory)) ?? ""), side),
      );
    };
    if (scene.zones !== undefined) for (const side of [0, 1]) await startNameServer(t, scene.zones, side);
    const twins = new Twins(await make(0), await make(1), servers, scene);
    for (const [side, instance] of twins.both.entries()) {
      await servers[side]?.listen(instance.directory, scene.unix ?? []);
      await logged(instance, /daemon started/);
    }
    return twins;
  }

  get both(): readonly [Instance, Instance] {
    return [this.ours, this.real];
  }

  /**
   * Sends messages into both, one after the other, and compares what became of them all. Each may wait until the queue manager has taken the one
   * before (of two that wait together the file system says which is first), or until nothing is left of it. ONLY=pattern in the environment chooses messages.
   */
  async compare(
    t: Test,
    name: string,
    mails: ReadonlyArray<Mail>,
    waits?: "until taken" | "until over",
  ): Promise<void> {
    const only = new RegExp(process.env.ONLY ?? "");
    const chosen = mails.filter((mail) => only.test(mail.name));
    await this.compareAfter(
      t,
      `${name} (${chosen.length} messages)`,
      chosen.map((mail) => async (instance) => {
        const replies = await submit(instance, mail);
        if (waits === "until over") await until(`the end of ${mail.name}`, () => !isBusy(instance), 60);
        if (waits === "until taken")
          await until(
            `${mail.name} in the active queue`,
            () => queueFiles(instance, "incoming").length === 0,
          );
        return replies.map((reply) => `${mail.name}: reply ${reply}`);
      }),
      // who comes first in a report is up to the scheduler
      chosen.some(({ to }) => (to?.length ?? 0) > 1),
    );
  }

  /** Does the same in both, one thing after the other, and compares what it gave and what became of it. */
  async compareAfter(
    t: Test,
    name: string,
    acts: ReadonlyArray<(instance: Instance) => Promise<ReadonlyArray<string>>>,
    anyOrder = true,
  ): Promise<void> {
    const starts = this.both.map((instance) => instance.maillog().length);
    const results: [string[], string[]] = [[], []];
    for (const act of acts)
      await Promise.all(
        this.both.map(async (instance, side) => {
          results[side]?.push(...(await act(instance)));
        }),
      );
    const [ours = [], real = []] = await Promise.all(
      this.both.map(async (instance, side) => {
        await idle(instance);
        const servers = this.servers[side];
        const ignore = this.scene.ignore ?? /$^/;
        const lines = instance
          .maillog()
          .slice(starts[side])
          .split("\n")
          .filter((line) => !ignore.test(line));
        const log = servers?.named(lines.join("\n")) ?? "";
        const left = evidence(instance, log, results[side] ?? []).map((line) => servers?.named(line) ?? "");
        return [...left, ...said(servers?.take() ?? [], instance, log)];
      }),
    );
    t.same(difference(ours, real, anyOrder), [], name);
  }

  /** Sends a message into both. */
  async send(mail: Mail): Promise<void> {
    await Promise.all(this.both.map((instance) => submit(instance, mail)));
  }

  /** Takes the mailboxes away and compares them, whatever the logs say. */
  sameMailboxes(t: Test, name: string): void {
    const [ours = [], real = []] = this.both.map((instance) =>
      mailboxes(instance, normaliser(instance, instance.maillog())),
    );
    t.same(difference(ours, real, true), [], name);
  }
}

/** What servers heard, with all that may differ made equal. */
function said(lines: ReadonlyArray<string>, instance: Instance, log: string): string[] {
  const normal = normaliser(instance, log);
  return lines.map((line) => normal(line).slice(0, 1500));
}

/** Lines that only one side has; where both have the same lines in another order, all of them, unless any order will do. */
function difference(ours: ReadonlyArray<string>, real: ReadonlyArray<string>, anyOrder: boolean): string[] {
  const without = (lines: ReadonlyArray<string>, others: ReadonlyArray<string>): string[] => {
    const rest = new Map<string, number>();
    for (const line of others) rest.set(line, (rest.get(line) ?? 0) + 1);
    return lines.filter((line) => {
      const count = rest.get(line) ?? 0;
      rest.set(line, count - 1);
      return count <= 0;
    });
  };
  const side = (name: string, lines: ReadonlyArray<string>): string[] =>
    lines.map(
      (line) => `${name}: ${line.length < 1000 ? line : `${line.slice(0, 500)}... (${line.length})`}`,
    );
  const lines = [...side("real", without(real, ours)), ...side("ours", without(ours, real))];
  if (anyOrder || lines.length > 0 || ours.join("\n") === real.join("\n")) return lines;
  return ["another order", ...side("real", real), ...side("ours", ours)];
}

/** Replies, log lines and contents of mailboxes, with all that may differ made equal. */
function evidence(instance: Instance, log: string, replies: ReadonlyArray<string>): string[] {
  const normal = normaliser(instance, log);
  const lines = log
    .split("\n")
    .filter((line) => line !== "" && !/statistics:|resetting file time stamps/.test(line));
  return [
    ...replies.map(normal),
    // long lines are cut at a length that numbers in them have a share in
    ...lines.map((line) => normal(withoutHead(line)).slice(0, 1500)).sort(),
    ...mailboxes(instance, normal),
  ];
}

const withoutHead = (line: string): string =>
  line.replace(/^\w{3} \d\d [\d:]{8} \S+ /, "").replace(/^(postfix\/[\w-]+)\[\d+\]/, "$1");

function normaliser(instance: Instance, log: string): (text: string) => string {
  const ids = new Set(
    [...log.matchAll(/(?:\]: |notification: |forwarded as |queued as )([0-9A-F]{9,14})\b/g)].map(
      (match) => match[1] ?? "",
    ),
  );
  return (text) => {
    let out = withoutNetwork(text)
      .replaceAll(instance.directory, "$DIR")
      .replaceAll(String(instance.smtpPort), "PORT")
      .replace(/\d{10}\.P\d+(?:Q\d+)?\.\w+/g, "TMPFILE");
    for (const id of ids) out = out.replaceAll(id, "QID");
    return out
      .replace(/\b[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4} \([A-Z]+\)/g, "DATE")
      .replace(/^(From .+? {2})[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}/gm, "$1DATE")
      .replace(/\d{14}\.QID@/g, "TIME.QID@")
      .replace(/QID\.\d{10}\//g, "QID.TIME/")
      .replace(/delay=[\d.]+, delays=[\d./]+/g, "delay=D, delays=A/B/C/D")
      .replace(/\bpid \d+/g, "pid N")
      .replace(/( XFORWARD .*\bPORT=)\d+/, "$1N");
  };
}

/** Lines of the files that deliveries made, which are taken away. Messages that come side by side stand in any order. */
function mailboxes(instance: Instance, normal: (text: string) => string): string[] {
  return collect(instance.mail)
    .map(([name, content]) => {
      const key = name
        .replace(/\d{10}\.V[0-9a-f]+I[0-9a-f]+M\d+\.[^/]+$/, "FILE")
        .replace(/^probe\.\d+$/, "probe");
      const messages = normal(content).split(/^(?=From .+ {2}DATE$)/m);
      return messages.sort().flatMap((message) => message.split("\n").map((line) => `${key}: ${line}`));
    })
    .sort((a, b) => (a.join("\n") < b.join("\n") ? -1 : 1))
    .flat();
}

/** Names below the folder, with mode, owner and content. */
function collect(folder: string, prefix = ""): Array<readonly [string, string]> {
  const found: Array<readonly [string, string]> = [];
  for (const name of readdirSync(join(folder, prefix)).sort()) {
    const path = join(folder, prefix, name);
    const stat = lstatSync(path);
    if (stat.isSymbolicLink()) rmSync(path);
    else if (stat.isDirectory()) found.push(...collect(folder, join(prefix, name)));
    else {
      const head = `mode ${(stat.mode & 0o7777).toString(8)} owner ${stat.uid}:${stat.gid}`;
      found.push([join(prefix, name), `${head}\n${readFileSync(path, "latin1")}`]);
      rmSync(path);
    }
  }
  return found;
}

const isBusy = (instance: Instance): boolean =>
  ["maildrop", "incoming", "active"].some((queue) => queueFiles(instance, queue).length > 0);

/** Waits until nothing is on its way and nothing more is logged. */
async function idle(instance: Instance): Promise<void> {
  let quiet = 0;
  let size = -1;
  await until(
    "an idle queue",
    () => {
      const busy = isBusy(instance);
      const now = existsSync(instance.log) ? statSync(instance.log).size : 0;
      quiet = busy || now !== size ? 0 : quiet + 1;
      size = now;
      return quiet >= 6;
    },
    90,
  ).catch((error: unknown) => {
    throw new Error(`${error}\n${instance.maillog().split("\n").slice(-40).join("\n")}`);
  });
}

async function submit(instance: Instance, mail: Mail): Promise<string[]> {
  mail.before?.(instance.directory);
  const text = (mail.text ?? TEXT).replaceAll("NAME", mail.name);
  const to = mail.to ?? [];
  if (mail.sendmail !== undefined) {
    const args = [...mail.sendmail, ...(mail.from === undefined ? [] : ["-f", mail.from]), ...to];
    const result = command(instance, "sendmail", args, text);
    return [`status ${result.status}`, result.stdout, result.stderr];
  }
  return converse(instance.smtpPort, [
    "EHLO client.test",
    `MAIL FROM:<${mail.from ?? "a@sender.test"}>${mail.parameters === undefined ? "" : ` ${mail.parameters}`}`,
    ...to.map((recipient) => {
      const [address = "", ...parameters] = recipient.split(/ (?=[A-Z]+=)/);
      return `RCPT TO:<${address}>${parameters.map((each) => ` ${each}`).join("")}`;
    }),
    "DATA",
    `${text.replace(/\n/g, "\r\n").replace(/^\./gm, "..")}.`,
    "QUIT",
  ]);
}

/** An SMTP session that goes on whatever the replies are; the replies but the greeting and EHLO's. */
export async function converse(
  port: number,
  lines: ReadonlyArray<string>,
  /** Address of the client. */
  localAddress = "127.0.0.1",
): Promise<string[]> {
  const socket = connect({ port, host: "127.0.0.1", localAddress }).setEncoding("latin1");
  let buffered = "";
  let ended = false;
  let wake = (): void => undefined;
  socket.on("data", (chunk: string) => {
    buffered += chunk;
    wake();
  });
  const end = (): void => {
    ended = true;
    wake();
  };
  socket.on("close", end).on("error", end);
  const reply = async (): Promise<string> => {
    for (;;) {
      const match = /^(?:\d{3}-[^\n]*\n)*\d{3} [^\n]*\n/.exec(buffered);
      if (match !== null) {
        buffered = buffered.slice(match[0].length);
        return match[0];
      }
      if (ended) return `connection closed after ${JSON.stringify(buffered)}`;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  const replies: string[] = [];
  await reply();
  for (const line of lines) {
    if (line.includes("\r\n") && replies.at(-1)?.startsWith("354") !== true) continue;
    socket.write(`${line}\r\n`, "latin1");
    const answer = await reply();
    if (!line.startsWith("EHLO")) replies.push(answer);
  }
  socket.destroy();
  return replies;
}
