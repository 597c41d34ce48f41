/** Servers for tests: started in a folder of their own on 127.0.0.1, as a user of their own when root starts them, ended with the test. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { chmodSync, chownSync, mkdtempSync, rmSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import { isRoot } from "../../support/harness.ts";

export interface ServerFolder {
  readonly path: string;
  /** For spawn(): undefined ids when not root. */
  readonly ids: { readonly uid?: number; readonly gid?: number };
}

/** A folder that belongs to `user`; removed at the end of the test. */
export function serverFolder(t: Test, name: string, user: string): ServerFolder {
  const path = mkdtempSync(join(tmpdir(), `table-${name}-`));
  chmodSync(path, 0o755);
  const ids = isRoot ? { uid: id("-u", user), gid: id("-g", user) } : {};
  if (isRoot) chownSync(path, ids.uid ?? 0, ids.gid ?? 0);
  t.teardown(() => rmSync(path, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }));
  return { path, ids };
}

const id = (flag: string, user: string): number =>
  Number(execFileSync("id", [flag, user], { encoding: "utf8" }));

export interface RunningServer {
  stop(): Promise<void>;
}

/** Starts a program that stays in the foreground; ready when `ready` is true. */
export async function startServer(
  t: Test,
  folder: ServerFolder,
  command: string,
  args: ReadonlyArray<string>,
  ready: () => Promise<boolean>,
): Promise<RunningServer> {
  const child: ChildProcess = spawn(command, [...args], {
    ...folder.ids,
    cwd: folder.path,
    stdio: ["ignore", "ignore", "pipe"],
  });
  let errors = "";
  child.stderr?.setEncoding("latin1").on("data", (text: string) => {
    errors = (errors + text).slice(-4000);
  });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const stop = async (): Promise<void> => {
    // at once: nothing that these servers hold is of worth after the test
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    await ended;
  };
  t.teardown(stop);
  const deadline = Date.now() + 60_000;
  while (!(await ready())) {
    if (child.exitCode !== null) throw new Error(`${command} ended: ${errors}`);
    if (Date.now() > deadline) throw new Error(`${command} does not start: ${errors}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return { stop };
}

/** Somebody listens at this port. */
export const listens = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = createConnection({ host: "127.0.0.1", port });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
