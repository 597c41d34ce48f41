/** The commands that smtp-sink knows, and what the options make of each. */
import { fatal } from "../../lib/log/log.ts";
import { lowerAscii, splitAny } from "../../lib/sys/bytes.ts";

export const COMMANDS = [
  "connect",
  "helo",
  "ehlo",
  "lhlo",
  "xclient",
  "xforward",
  "auth",
  "mail",
  "rcpt",
  "data",
  ".",
  "rset",
  "noop",
  "vrfy",
  "quit",
] as const;
export type CommandName = (typeof COMMANDS)[number];

export const isCommand = (word: string): word is CommandName => COMMANDS.some((name) => name === word);

/** What is done in place of the normal reply, or before it. */
export interface Behaviour {
  logged?: boolean;
  /** Seconds; the wait is repeated while a dice of 100 sides shows less than `odds`. */
  delay?: number;
  odds?: number;
  refusal?: "hard" | "soft";
  disconnect?: "silent" | "421";
}

export class Behaviours {
  readonly #behaviours = new Map<CommandName, Behaviour>();

  of(name: CommandName): Behaviour {
    return this.#behaviours.get(name) ?? {};
  }

  /** Changes the commands of a list, which are separated by blanks or commas. */
  change(list: string, change: Behaviour): void {
    for (const word of splitAny(list, ", \t\r\n")) {
      const name = lowerAscii(word);
      if (!isCommand(name)) fatal(`unknown command: ${word}`);
      this.#behaviours.set(name, { ...this.of(name), ...change });
    }
  }
}

/** Seconds to wait before a reply. */
export function waitFor({ delay = 0, odds = 0 }: Behaviour, random: () => number = Math.random): number {
  if (odds === 0) return delay;
  let rolls = 1;
  while (Math.floor(random() * 100) < odds) rolls++;
  return delay * rolls;
}
