/** postmap for tests: a configuration of its own, queries without stopping the test's own servers. */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import { PROGRAMS } from "../../support/harness.ts";

export interface Run {
  readonly stdout: string;
  readonly stderr: string;
  readonly status: number | null;
}

export class Postmap {
  readonly directory: string;
  constructor(
    t: Test,
    private readonly program = join(PROGRAMS.multicall, "sbin", "postmap"),
    mainCf = "",
  ) {
    this.directory = mkdtempSync(join(tmpdir(), "table-postmap-"));
    t.teardown(() => rmSync(this.directory, { recursive: true, force: true }));
    mkdirSync(join(this.directory, "conf"));
    this.write(
      "conf/main.cf",
      `myhostname = host.example.com\nmail_owner = games\nsetgid_group = uucp\ncompatibility_level = 3.11\ninet_protocols = ipv4\n${mainCf}`,
    );
    this.write("conf/master.cf", "");
  }

  /** Runs the cases side by side: a program that fails waits a second before it ends. */
  static async all<T>(cases: Iterable<T>, work: (one: T) => Promise<void>): Promise<void> {
    const queue = [...cases];
    const worker = async (): Promise<void> => {
      for (let one = queue.shift(); one !== undefined; one = queue.shift()) await work(one);
    };
    await Promise.all(Array.from({ length: 12 }, worker));
  }

  /** Writes a file whose age raises no question; its path. */
  write(name: string, text: string): string {
    const path = join(this.directory, name);
    writeFileSync(path, text, "latin1");
    utimesSync(path, 1e9, 1e9);
    return path;
  }

  run(args: ReadonlyArray<string>, input = ""): Promise<Run> {
    return new Promise((resolve, reject) => {
      const unicode = args.map((argument) => Buffer.from(argument, "latin1").toString("utf8"));
      const child = spawn(this.program, ["-c", join(this.directory, "conf"), ...unicode], {
        env: { PATH: "/usr/bin:/bin", LC_ALL: "C.UTF-8" },
        cwd: this.directory,
      });
      const [out, err]: [Buffer[], Buffer[]] = [[], []];
      child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
      child.stderr.on("data", (chunk: Buffer) => err.push(chunk));
      child.on("error", reject);
      child.on("close", (status) =>
        resolve({
          stdout: Buffer.concat(out).toString("latin1"),
          // what follows "error:" is whatever errno the last system call left behind
          stderr: Buffer.concat(err)
            .toString("latin1")
            .replaceAll(this.directory, "$CWD")
            .replace(/((?:query|write|delete) error): .*/g, "$1"),
          status,
        }),
      );
      child.stdin.on("error", () => undefined);
      child.stdin.end(input, "latin1");
    });
  }

  query(table: string, key: string): Promise<Run> {
    return this.run(["-q", key, table]);
  }
}
