/** What makes work: smtp-source and smtp-sink of the real Postfix for both, sendmail, and a sink of our own that notes times. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import type { Instance } from "../../packaging/instance.ts";
import type { Reference } from "../interop/support/reference.ts";
import { freePorts } from "../system/support/harness.ts";
import { type System, wait } from "./systems.ts";

export const exitStatus = (child: ChildProcess): Promise<number> =>
  new Promise((done) => child.on("close", (code) => done(code ?? 1)));

export const isQueued = (
  { queue }: Instance,
  queues = ["maildrop", "incoming", "active", "deferred"],
): boolean =>
  queues.some(
    (name) => spawnSync("find", [join(queue, name), "-type", "f", "-print", "-quit"]).stdout.length > 0,
  );

/** Waits until these queues are empty, so many seconds at most. */
export async function drained(instance: Instance, queues?: string[], seconds = 180): Promise<void> {
  const began = performance.now();
  while (isQueued(instance, queues)) {
    const elapsed = performance.now() - began;
    if (elapsed > seconds * 1000) throw new Error(`the queue of ${instance.directory} does not empty`);
    // looking costs time too
    await wait(Math.max(20, elapsed / 200));
  }
}

export interface Sent {
  readonly messages: number;
  readonly size?: number;
  readonly sessions?: number;
  readonly recipient?: string;
  /** Further arguments of smtp-source. */
  readonly more?: ReadonlyArray<string>;
}

const SOURCE_LIMIT = 900_000;

/** Sends by SMTP; ends when all is accepted. */
export async function smtpSource(programs: Reference, system: System, sent: Sent): Promise<void> {
  const { messages, size = 4096, sessions = 20, recipient = "b@elsewhere.test", more = [] } = sent;
  const words = ["-s", sessions, "-m", messages, "-l", size, "-f", "a@example.org", "-t", recipient, ...more];
  const source = spawn(
    join(programs.sbin, "smtp-source"),
    [...words.map(String), `127.0.0.1:${system.instance.smtpPort}`],
    { stdio: ["ignore", "ignore", "inherit"], timeout: SOURCE_LIMIT },
  );
  const status = await exitStatus(source);
  if (status !== 0) throw new Error(`smtp-source ended with status ${status}`);
}

const LETTER = `Subject: x\n\n${"x".repeat(70)}\n`;

/** Submits with the sendmail command, `together` at once. */
export async function sendmail({ instance }: System, messages: number, together: number): Promise<void> {
  let left = messages;
  const one = async (): Promise<void> => {
    while (left-- > 0) {
      const child = spawn(instance.program("sendmail"), ["-f", "a@example.org", "b@elsewhere.test"], {
        env: instance.environment,
        stdio: ["pipe", "inherit", "inherit"],
      });
      child.stdin.end(LETTER);
      const status = await exitStatus(child);
      if (status !== 0) throw new Error(`sendmail ended with status ${status}`);
    }
  };
  await Promise.all(Array.from({ length: together }, one));
}

/** The real smtp-sink; gives its port. */
export async function smtpSink(programs: Reference): Promise<{ port: number; stop: () => void }> {
  const [port = 0] = await freePorts(1);
  const sink = spawn(join(programs.sbin, "smtp-sink"), ["-u", "nobody", `127.0.0.1:${port}`, "1000"], {
    stdio: "ignore",
  });
  await wait(300);
  return { port, stop: () => void sink.kill() };
}

/** A server that takes every message, after a delay, and tells when one was complete. */
export async function timingSink(
  delay: number,
  arrived: () => void,
): Promise<{ port: number; stop: () => void }> {
  const server: Server = createServer((socket) => {
    let data = false;
    let text = "";
    socket.write("220 sink ESMTP\r\n");
    socket.on("error", () => socket.destroy());
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      for (let end = text.indexOf("\r\n"); end >= 0; end = text.indexOf("\r\n")) {
        const line = text.slice(0, end);
        text = text.slice(end + 2);
        if (data) {
          if (line !== ".") continue;
          data = false;
          arrived();
          setTimeout(() => socket.write("250 taken\r\n"), delay);
        } else if (/^DATA/i.test(line)) {
          data = true;
          socket.write("354 go on\r\n");
        } else if (/^QUIT/i.test(line)) socket.end("221 bye\r\n");
        else socket.write("250 ok\r\n");
      }
    });
  });
  const [port = 0] = await freePorts(1);
  await new Promise<void>((done) => server.listen(port, "127.0.0.1", done));
  return { port, stop: () => void server.close() };
}
