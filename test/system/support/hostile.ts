/** Hostile peers for tests: raw exchanges, seeded random bytes, damaged copies, and what must hold after them. */
import { existsSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import type { Test } from "tap";
import type { Instance } from "../../../packaging/instance.ts";
import { allDaemons, until } from "./harness.ts";

export const bytes = (text: string): Buffer => Buffer.from(text, "latin1");

export interface ExchangeOptions {
  /** Close our sending side after the input. */
  readonly half?: boolean;
  /** Give up after so many milliseconds. */
  readonly limit?: number;
}

/** Sends bytes to a unix socket (a path) or a port, and gives everything that came back until the peer closed or the limit passed. */
export function exchange(
  target: string | number,
  input: Buffer,
  { half = true, limit = 2000 }: ExchangeOptions = {},
): Promise<string> {
  return new Promise((resolve) => {
    let received = "";
    const where = typeof target === "number" ? { port: target, host: "127.0.0.1" } : { path: target };
    const socket = connect({ ...where, allowHalfOpen: true });
    socket.on("data", (chunk) => {
      received += chunk.toString("latin1");
    });
    // a peer that has had enough resets
    socket.on("error", () => socket.destroy());
    socket.on("end", () => socket.end());
    socket.on("close", () => resolve(received));
    socket.setTimeout(limit, () => socket.destroy());
    if (half) socket.end(input);
    else socket.write(input);
  });
}

/** The same sequence for the same seed (mulberry32). */
export function randomSource(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

export function randomBytes(length: number, random: () => number): Buffer {
  return Buffer.from(Array.from({ length }, () => Math.floor(random() * 256)));
}

/** A copy that is cut short, or has bytes changed, removed, doubled or inserted. */
export function damaged(original: Buffer, random: () => number): Buffer {
  const at = Math.floor(random() * original.length);
  const some = 1 + Math.floor(random() * 8);
  switch (Math.floor(random() * 5)) {
    case 0:
      return original.subarray(0, at);
    case 1: {
      const copy = Buffer.from(original);
      for (let i = 0; i < some; i++) copy[Math.floor(random() * copy.length)] = Math.floor(random() * 256);
      return copy;
    }
    case 2:
      return Buffer.concat([original.subarray(0, at), original.subarray(at + some)]);
    case 3:
      return Buffer.concat([original.subarray(0, at + some), original.subarray(at)]);
    default:
      return Buffer.concat([original.subarray(0, at), randomBytes(some, random), original.subarray(at)]);
  }
}

/** Log lines that nothing from outside may cause. */
export const crashes = (instance: Instance): string[] =>
  instance
    .maillog()
    .split("\n")
    .filter((line) => /killed by signal|exit status|internal error|panic:|bad command startup/.test(line));

const MEMORY_LIMIT_KB = 400_000;

/** The mail system is whole: no daemon died or grew, and a message is delivered. */
export async function stillWorks(t: Test, instance: Instance): Promise<void> {
  const subject = `Subject: still works ${Date.now()}`;
  const recipient = instance.who.recipient;
  instance.must("sendmail", ["-f", "sender@example.org", `${recipient}@localhost`], `${subject}\n\nbody\n`);
  const mailbox = join(instance.mail, recipient);
  await until(
    "a delivery afterwards",
    () => existsSync(mailbox) && readFileSync(mailbox, "latin1").includes(subject),
  ).catch((error: unknown) => {
    throw new Error(
      `${error instanceof Error ? error.message : error}\n${instance.maillog().split("\n").slice(-40).join("\n")}`,
    );
  });
  t.same(crashes(instance), [], "nothing crashed");
  const large = allDaemons(instance).filter(({ memory }) => memory > MEMORY_LIMIT_KB);
  t.same(large, [], "nothing grew");
}

/** Mail log lines after a position, without time, host and process id. */
export const linesAfter = (instance: Instance, position: number): string[] =>
  instance
    .maillog()
    .slice(position)
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.replace(/^\S+ +\d+ \S+ \S+ /, "").replace(/\[\d+\]/, ""));
