/**
 * What a message costs beside few and beside a million others in the queue: a look at all of them, relaying new mail beside them, the queue
 * manager's memory with all of them in its hands, and their way out. The last size makes a million files for each system, several times: on a
 * file system in memory (TMPDIR=/dev/shm) that takes minutes, and it is the length of the queue that is measured, not the disk.
 */
import { spawnSync } from "node:child_process";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { sendMail } from "../../../packaging/smtp_hello.ts";
import { freePorts } from "../../system/support/harness.ts";
import { Curves } from "../curves/curves.ts";
import { publish } from "../curves/figure.ts";
import {
  countFiles,
  countQueued,
  deferAgain,
  fillDeferred,
  type Model,
  removeQueued,
  takeModel,
} from "../deferred_files.ts";
import { drained, isQueued, smtpSink, smtpSource } from "../load.ts";
import { pssOf } from "../processes.ts";
import { median, progress, type Row } from "../report.ts";
import {
  type Bench,
  configure,
  familyOf,
  listening,
  restart,
  type System,
  start,
  stop,
  wait,
  withPair,
} from "../systems.ts";

interface Figures {
  /** Microseconds of CPU a message. */
  readonly scan: number;
  /** New mail beside them: messages a second, CPU ms a message. */
  readonly relayed: number;
  readonly relay: number;
  /** Bytes of the queue manager a message. */
  readonly memory: number;
  /** On the way out: messages a second, CPU ms a message. */
  readonly drained: number;
  readonly drain: number;
}

/** Until code is compiled and processes run. */
const WARM_UP = 2000;
/** Larger queues are measured once. */
const REPEATED = 10_000;
const LOOKS = 5;
/** So many tell what one costs: what is left of a longer queue is removed. */
const MOST_DRAINED = 100_000;
/** For each message of the queue, seconds that a step may take, and for the step itself. */
const limit = (size: number): number => 60 + size / 100;

const DISCARD = { relayhost: "", defer_transports: "", default_transport: "discard:silently" };
const relayTo = (port: number) => ({
  relayhost: `[127.0.0.1]:${port}`,
  defer_transports: "",
  default_transport: "smtp",
});

/** A server that never greets: what goes there stays in the active queue. */
async function silentServer(): Promise<{ port: number; stop: () => void }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => sockets.add(socket.on("error", () => socket.destroy())));
  const [port = 0] = await freePorts(1);
  await new Promise<void>((done) => server.listen(port, "127.0.0.1", done));
  const end = (): void => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  return { port, stop: end };
}

function flush({ instance }: System): void {
  const { status } = spawnSync(instance.program("postqueue"), ["-f"], {
    env: instance.environment,
    stdio: "inherit",
  });
  if (status !== 0) throw new Error(`postqueue -f: status ${status}`);
}

/** Tells the queue manager to look at the deferred queue: what postkick says, which in Postfix may die of a closed socket. */
const lookAtDeferred = ({ instance }: System): Promise<void> =>
  new Promise((done, fail) => {
    const socket = connect(join(instance.queue, "public/qmgr"))
      .on("error", fail)
      .on("close", () => done());
    socket.end("D");
  });

/** CPU milliseconds of the whole system while something happens. */
async function cpuOf(system: System, work: () => Promise<unknown>): Promise<number> {
  const family = familyOf(system);
  const before = family.cpu;
  await work();
  return family.cpu - before;
}

class Trial {
  constructor(
    private readonly bench: Bench,
    private readonly system: System,
    private readonly ports: { readonly sink: number; readonly silent: number },
    private readonly model: Model,
    private readonly size: number,
  ) {}

  async run(): Promise<Figures> {
    const { system, size, ports } = this;
    this.#say("filling the queue");
    await stop(system);
    fillDeferred(system.instance, this.model, size);
    configure(system, relayTo(ports.sink));
    start(system);
    await listening(system.instance.smtpPort);
    await familyOf(system).idle(limit(size));
    await this.#send(WARM_UP);
    this.#say("looking at it, relaying beside it");
    const scan = (await this.#scan()) / size;
    const { seconds, cpu } = await this.#relay();
    this.#say("making all of it active");
    const memory = await this.#memory();
    this.#say("flushing");
    const out = await this.#drain();
    return {
      scan: scan * 1000,
      relayed: this.bench.options.messages / seconds,
      relay: cpu / this.bench.options.messages,
      memory,
      drained: out.messages / out.seconds,
      drain: out.cpu / out.messages,
    };
  }

  #say(what: string): void {
    progress(`${this.system.name}, ${this.size} messages: ${what}`);
  }

  async #send(messages: number): Promise<void> {
    await smtpSource(this.bench.reference, this.system, { messages });
    await drained(this.system.instance, ["maildrop", "incoming", "active"]);
  }

  /** One look at the whole deferred queue, of which nothing is due. */
  async #scan(): Promise<number> {
    const family = familyOf(this.system);
    const looks: number[] = [];
    while (looks.length < LOOKS) {
      await family.idle(limit(this.size));
      const before = family.exactCpu;
      await lookAtDeferred(this.system);
      await family.idle(limit(this.size));
      looks.push(family.exactCpu - before);
    }
    return median(looks);
  }

  async #relay(): Promise<{ seconds: number; cpu: number }> {
    const began = performance.now();
    const cpu = await cpuOf(this.system, () => this.#send(this.bench.options.messages));
    return { seconds: (performance.now() - began) / 1000, cpu };
  }

  async #memory(): Promise<number> {
    const { system, size } = this;
    await restart(system, DISCARD);
    await familyOf(system).idle(limit(size));
    await this.#send(WARM_UP);
    await restart(system, relayTo(this.ports.silent));
    const family = familyOf(system);
    await family.idle(limit(size));
    const [pid = 0] = family.named("qmgr");
    const before = pssOf(pid);
    flush(system);
    const end = performance.now() + limit(size) * 1000;
    while (countFiles(system.instance, "active") < size) {
      if (performance.now() > end) throw new Error(`${system.name}: not all of ${size} become active`);
      await wait(100 + size / 1000);
    }
    await family.idle(limit(size));
    const bytes = (pssOf(pid) - before) * 1024;
    await stop(system);
    deferAgain(system.instance);
    start(system);
    await listening(system.instance.smtpPort);
    return bytes / size;
  }

  async #drain(): Promise<{ messages: number; seconds: number; cpu: number }> {
    const { system, size } = this;
    const left = Math.max(0, size - MOST_DRAINED);
    await restart(system, DISCARD);
    await familyOf(system).idle(limit(size));
    await this.#send(WARM_UP);
    const began = performance.now();
    let messages = 0;
    const cpu = await cpuOf(system, async () => {
      flush(system);
      const end = began + limit(size) * 1000;
      for (let queued = size; queued > left; queued = countQueued(system.instance)) {
        if (performance.now() > end) throw new Error(`${system.name}: ${queued} messages are still queued`);
        // looking costs time, too
        await wait(20 + size / 1000);
      }
      messages = size - countQueued(system.instance);
    });
    const seconds = (performance.now() - began) / 1000;
    if (left > 0) {
      await stop(system);
      removeQueued(system.instance);
      start(system);
      await listening(system.instance.smtpPort);
    }
    return { messages, seconds, cpu };
  }
}

export async function measureScaleQueue(bench: Bench): Promise<Row[]> {
  const { sizes, rounds } = bench.options;
  const largest = Math.max(...sizes);
  const sink = await smtpSink(bench.reference);
  const silent = await silentServer();
  const curves = new Curves<Figures>(sizes, { label: "messages in the queue", log: true });
  const settings = {
    mainCf: `defer_transports = smtp
minimal_backoff_time = 1d
maximal_backoff_time = 1d
qmgr_message_active_limit = ${largest + 1000}
qmgr_message_recipient_limit = ${largest + 1000}
smtp_helo_timeout = 1d
`,
  };
  try {
    await withPair(bench, settings, async (systems) => {
      const models = new Map<System, Model>();
      for (const system of systems) {
        await sendMail(
          system.instance.smtpPort,
          "a@example.org",
          "b@elsewhere.test",
          "Subject: x\r\n\r\nx\r\n",
        );
        while (isQueued(system.instance, ["incoming", "active"])) await wait(100);
        await stop(system);
        models.set(system, takeModel(system.instance));
        start(system);
        await listening(system.instance.smtpPort);
      }
      const ports = { sink: sink.port, silent: silent.port };
      for (const size of sizes)
        for (let round = 0; round < (size > REPEATED ? 1 : rounds); round++)
          for (const system of round % 2 === 0 ? systems : [...systems].reverse()) {
            const model = models.get(system);
            if (model === undefined) throw new Error("no model");
            curves.add(system.name, size, await new Trial(bench, system, ports, model, size).run());
          }
    });
  } finally {
    sink.stop();
    silent.stop();
  }
  publish(bench, "scale-queue", {
    title: "Cost of a message by length of the queue",
    panels: [
      curves.panel("Flush of the deferred queue", "drain", "CPU ms a message"),
      curves.panel("A look at the whole deferred queue", "scan", "CPU µs a message in it"),
      curves.panel("Relay of new mail beside it", "relay", "CPU ms a message"),
      curves.panel("Memory of the queue manager", "memory", "bytes an active message"),
    ],
  });
  return sizes.flatMap((size) => [
    curves.row(`${size} messages in the queue: a look at all, CPU µs a message`, size, "scan", 1),
    curves.row("relay of new ones beside them: messages/s", size, "relayed", 0),
    curves.row("CPU ms a message", size, "relay", 2),
    curves.row("memory of the queue manager, bytes an active message", size, "memory", 0),
    curves.row("flush to discard: messages/s", size, "drained", 0),
    curves.row("CPU ms a message", size, "drain", 2),
  ]);
}
