/** The start of the whole system, as an admin's command and by master alone, and what it holds when it has nothing to do. */
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { POSTFIX_FILES, plainPrograms } from "../../interop/support/administration.ts";
import { freePorts } from "../../system/support/harness.ts";
import { Machine } from "../../system/support/machine.ts";
import { median, type Row } from "../report.ts";
import { type Bench, familyOf, listening, type System, start, stop, wait, withPair } from "../systems.ts";

const STARTS = 5;

class Times {
  readonly #times = new Map<System["name"], number[]>();

  add(name: System["name"], time: number): void {
    this.#times.set(name, [...(this.#times.get(name) ?? []), time]);
  }

  row(name: string): Row {
    const of = (system: System["name"]): number => median(this.#times.get(system) ?? []);
    return { name, ours: of("ours"), postfix: of("postfix"), digits: 0 };
  }
}

interface Installed {
  readonly name: System["name"];
  readonly machine: Machine;
  readonly port: number;
}

async function postfix({ machine }: Installed, verb: string): Promise<void> {
  const { status, stderr } = await machine.run(["postfix", verb]);
  if (status !== 0) throw new Error(`postfix ${verb}: status ${status}\n${stderr}`);
}

/** Both in the usual place, each on a machine of its own: `postfix start` finds its configuration there, and checks the installation. */
async function installed(
  bench: Bench,
  programs: string,
  undo: Array<() => unknown>,
): Promise<ReadonlyArray<Installed>> {
  plainPrograms(bench.reference, programs);
  const ports = await freePorts(2);
  return (["ours", "postfix"] as const).map((name, index) => {
    const machine = new Machine(
      { teardown: (handler) => void undo.push(handler as () => unknown) },
      { programs: name === "ours" ? bench.ourPrograms : programs },
    );
    const port = ports[index] ?? 0;
    machine.write(
      "main.cf",
      `${machine.read("main.cf")}maillog_file = ${machine.directory}/maillog
maillog_file_prefixes = ${machine.directory}
inet_interfaces = 127.0.0.1
shlib_directory = no
html_directory = no
manpage_directory = ${machine.directory}/man
alias_maps =
alias_database =
`,
    );
    const own = name === "postfix" ? "tlsmgr unix - - n 1000? 1 tlsmgr\n" : "";
    machine.write("master.cf", `${machine.read("master.cf")}127.0.0.1:${port} inet n - n - - smtpd\n${own}`);
    machine.write("postfix-files", POSTFIX_FILES);
    return { name, machine, port };
  });
}

/** From the command to the first greeting. */
async function commandTimes(bench: Bench): Promise<Times> {
  const times = new Times();
  const programs = mkdtempSync(join(tmpdir(), "posthaste-programs-"));
  chmodSync(programs, 0o755);
  const undo: Array<() => unknown> = [() => rmSync(programs, { recursive: true, force: true })];
  try {
    const both = await installed(bench, programs, undo);
    for (let number = 0; number <= STARTS; number++)
      for (const one of both) {
        const began = performance.now();
        const command = postfix(one, "start");
        await Promise.all([
          command,
          listening(one.port).then(() => {
            // the first makes the directories
            if (number > 0) times.add(one.name, performance.now() - began);
          }),
        ]);
        await postfix(one, "stop");
      }
  } finally {
    for (const each of undo) await each();
  }
  return times;
}

export async function measureStart(bench: Bench): Promise<Row[]> {
  const commands = await commandTimes(bench);
  const masters = new Times();
  const memory = new Map<System["name"], number>();
  await withPair(bench, { mainCf: "" }, async (systems) => {
    for (let number = 0; number < STARTS; number++)
      for (const system of systems) {
        await stop(system);
        const began = performance.now();
        start(system);
        await listening(system.instance.smtpPort);
        masters.add(system.name, performance.now() - began);
      }
    await wait(3000);
    for (const system of systems) memory.set(system.name, familyOf(system).pss / 1024);
  });
  return [
    commands.row("start of the system (postfix start) to the first greeting, ms"),
    masters.row("start of master alone to the first greeting, ms"),
    { name: "idle: MB PSS", ours: memory.get("ours"), postfix: memory.get("postfix"), digits: 0 },
  ];
}
