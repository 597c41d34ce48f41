/** qshape(1): how old the mail in the queue is, by domain (tools.md 12). */

import { configuration } from "../../lib/config/configuration.ts";
import { command, configureCommand, print } from "../../lib/daemon/command.ts";
import { optionLetters } from "../../lib/daemon/help.ts";
import { complain, parseOptions } from "../../lib/daemon/options.ts";
import type { Invocation } from "../../lib/daemon/program.ts";
import { fatal, warning } from "../../lib/log/log.ts";
import { QueueScan } from "../../lib/queue/scan.ts";
import { pathOf } from "../../lib/sys/bytes.ts";
import { setEnvironmentVariable } from "../../lib/sys/environment.ts";
import { errorText } from "../../lib/sys/errno.ts";
import { existsSync } from "../../lib/sys/fs.ts";
import { readDecimal } from "../../lib/sys/numbers.ts";
import { isTerminal } from "../../lib/sys/process.ts";
import { type Buckets, bucketOf, bucketTitles, Counts, domainOf } from "./counts.ts";
import { HELP } from "./help.ts";
import { readEnvelope } from "./message.ts";
import { table } from "./table.ts";

const definition = { program: "qshape", help: HELP, log: { ownFile: true } };

export const main = command({ ...definition, run });

interface Settings {
  readonly senders: boolean;
  readonly parents: boolean;
  readonly minimumSubdomains: number;
  readonly buckets: Buckets;
  readonly width: number;
  readonly batch: number;
  readonly top: number;
  readonly queues: ReadonlyArray<string>;
}

async function run(invocation: Invocation): Promise<void> {
  const settings = readSettings(invocation);
  configureCommand(definition, invocation, "keep");
  new Shape(settings).run();
}

const LIMIT = 1_000_000;
const MOST_BUCKETS = 100;
const LINE = 80;

function readSettings({ args, processName }: Invocation): Settings {
  const parsed = parseOptions(args, optionLetters(HELP));
  if (!parsed.ok) {
    complain(processName, parsed);
    return fatal(`usage: qshape ${HELP.usage[0]}`);
  }
  const values = new Map<string, string>();
  const numbers = new Map<string, number>();
  for (const { option, value } of parsed.options) {
    if (option === "c") setEnvironmentVariable("MAIL_CONFIG", value);
    else if ("bmNntw".includes(option)) {
      const number = readDecimal(value, option === "b" ? MOST_BUCKETS : LIMIT);
      // as the original: what is no positive number changes nothing
      if (number !== undefined && number > 0) numbers.set(option, number);
      else warning(`-${option} ${value}: not a positive number -- ignored`);
    } else values.set(option, value);
  }
  const number = (option: string, fallback: number): number => numbers.get(option) ?? fallback;
  return {
    senders: values.has("s"),
    parents: values.has("p"),
    minimumSubdomains: number("m", 5),
    buckets: { count: number("b", 10), first: number("t", 5), linear: values.has("l") },
    // less than usual makes no sense to the original either
    width: Math.max(LINE, number("w", LINE)),
    batch: number("N", 1000),
    top: number("n", 20),
    queues: parsed.operands.length > 0 ? parsed.operands : ["incoming", "active"],
  };
}

/** Home, and everything below it erased. */
const CLEAR = "\x1b[H\x1b[2J";
/** Names that a queue file may have; a queue directory has others, too. */
const QUEUE_FILE = /[A-Za-z0-9]{6}$/;

class Shape {
  readonly #settings: Settings;
  readonly #counts: Counts;
  readonly #terminal = isTerminal(1);
  readonly #now = Date.now() / 1000;
  readonly #buffer = Buffer.allocUnsafeSlow(16384);
  #messages = 0;

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#counts = new Counts(settings.buckets);
  }

  run(): void {
    const { queues, parents, minimumSubdomains } = this.#settings;
    for (const queue of queues) this.#scan(queue);
    const rows = this.#counts.rows(parents ? minimumSubdomains : undefined);
    this.#show(this.#terminal ? rows.slice(0, this.#settings.top) : rows);
  }

  #scan(queue: string): void {
    const directory = queue.startsWith("/") ? queue : `${configuration().get("queue_directory")}/${queue}`;
    if (!existsSync(pathOf(directory))) {
      warning(`${queue}: there is no such directory`);
      return;
    }
    let scan: QueueScan;
    try {
      scan = new QueueScan(directory, { recursive: true });
    } catch (error) {
      fatal(`open directory ${directory}: ${errorText(error)}`);
    }
    for (let name = scan.next(); name !== undefined; name = scan.next())
      if (QUEUE_FILE.test(name)) this.#count(`${scan.directory}/${name}`);
  }

  #count(path: string): void {
    const { senders, buckets, batch, parents, minimumSubdomains, top } = this.#settings;
    const envelope = readEnvelope(path, this.#buffer);
    if (envelope === undefined) return;
    const bucket = bucketOf(buckets, this.#now - envelope.time);
    if (senders) this.#counts.add(domainOf(envelope.sender), bucket);
    else for (const recipient of envelope.recipients) this.#counts.add(domainOf(recipient), bucket);
    if (++this.#messages % batch === 0 && this.#terminal)
      this.#show(this.#counts.rows(parents ? minimumSubdomains : undefined).slice(0, top));
  }

  #show(rows: ReturnType<Counts["rows"]>): void {
    const { buckets, width } = this.#settings;
    print((this.#terminal ? CLEAR : "") + table(bucketTitles(buckets), this.#counts.total(), rows, width));
  }
}
