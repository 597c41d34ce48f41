/**
 * Dialogue scripts: what an SMTP client says, what the server answers, and what it logs. They are plain text, replayed against our smtpd(8) and
 * against a real one alike (test/scripts/smtpd/README.md tells the format).
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export type Step =
  /** Opens a connection from an address and goes on with it. */
  | { readonly kind: "client"; readonly address: string }
  /** Opens a connection to a service that cannot start. */
  | { readonly kind: "wake" }
  /** Goes on with an earlier connection, counted from 1. */
  | { readonly kind: "switch"; readonly number: number }
  /** Sends bytes; `answered` when a reply is due. */
  | { readonly kind: "send"; readonly bytes: Buffer; readonly answered: boolean }
  /** Shows the queue file of the message that was accepted last, which a rule holds. */
  | { readonly kind: "queue file" }
  | { readonly kind: "sleep"; readonly seconds: number }
  | { readonly kind: "hangup" };

export interface ScriptStep {
  readonly line: string;
  readonly step: Step;
  /** Reply lines, and `closed` as the last when the server closes. */
  replies: string[];
}

export interface Scenario {
  readonly name: string;
  /** Lines before the steps that are kept as they are: comments. */
  readonly comments: string[];
  /** `name = value` settings of the service. */
  readonly config: string[];
  /** What the filter before the queue does: `verb=code`. */
  readonly filter: string | undefined;
  readonly steps: ScriptStep[];
  /** Lines that the server logs. */
  log: string[];
  /** What a filter before the queue heard. */
  heard: string[];
  /** What a policy server was asked; not looked at when it is `unasked`. */
  asked: string[];
  readonly unasked: boolean;
}

const FOLDER = join(import.meta.dirname, "../../scripts/smtpd");

export const scriptFiles = (): string[] =>
  readdirSync(FOLDER)
    .filter((name) => name.endsWith(".txt"))
    .sort();

const ESCAPES: Readonly<Record<string, string>> = { r: "\r", n: "\n", t: "\t", "\\": "\\", "0": "\0" };

/** Text with `\r`, `\n`, `\t`, `\0`, `\\`, `\xHH` and `\{N*text}` (text N times) as bytes. */
export function unescaped(text: string): Buffer {
  const expanded = text.replace(/\\\{([0-9]+)\*([^}]*)\}/g, (_all, count: string, what: string) =>
    what.repeat(Number(count)),
  );
  const bytes = expanded.replace(/\\(?:x([0-9A-Fa-f]{2})|(.))/g, (_all, hex?: string, letter?: string) =>
    hex !== undefined ? String.fromCharCode(Number.parseInt(hex, 16)) : (ESCAPES[letter ?? ""] ?? ""),
  );
  return Buffer.from(bytes, "latin1");
}

function parseStep(word: string, rest: string): Step | undefined {
  switch (word) {
    case "client":
      return { kind: "client", address: rest };
    case "wake":
      return { kind: "wake" };
    case "switch":
      return { kind: "switch", number: Number(rest) };
    case "sleep":
      return { kind: "sleep", seconds: Number(rest) };
    case "queuefile":
      return { kind: "queue file" };
    case "hangup":
      return { kind: "hangup" };
    case "C:":
      return { kind: "send", bytes: Buffer.concat([Buffer.from(rest), Buffer.from("\r\n")]), answered: true };
    case "R:":
      return { kind: "send", bytes: unescaped(rest), answered: true };
    case "Q:":
      return { kind: "send", bytes: unescaped(rest), answered: false };
    default:
      return undefined;
  }
}

export function readScript(file: string): Scenario[] {
  const scenarios: Scenario[] = [];
  for (const [index, line] of readFileSync(join(FOLDER, file), "utf8").split("\n").entries()) {
    const complain = (): never => {
      throw new Error(`${file}:${index + 1}: ${line}`);
    };
    if (line.startsWith("=== ")) {
      const filter: string | undefined = undefined;
      const empty = { comments: [], config: [], steps: [], log: [], heard: [], asked: [], unasked: false };
      scenarios.push({ name: line.slice(4), filter, ...empty });
      continue;
    }
    const scenario = scenarios.at(-1);
    if (line === "") continue;
    if (scenario === undefined) {
      if (line.startsWith("#")) continue;
      return complain();
    }
    const blank = line.indexOf(" ");
    const word = blank < 0 ? line : line.slice(0, blank);
    const rest = blank < 0 ? "" : line.slice(blank + 1);
    if (line.startsWith("#")) scenario.comments.push(line);
    else if (word === "config") scenario.config.push(rest);
    else if (word === "unasked") (scenario as { unasked: boolean }).unasked = true;
    else if (word === "filter") (scenario as { filter: string | undefined }).filter = rest;
    else if (word === "S:" || word === "closed")
      scenario.steps.at(-1)?.replies.push(word === "S:" ? rest : "closed");
    else if (word === "L:") scenario.log.push(rest);
    else if (word === "F:") scenario.heard.push(rest);
    else if (word === "P:") scenario.asked.push(rest);
    else scenario.steps.push({ line, step: parseStep(word, rest) ?? complain(), replies: [] });
  }
  return scenarios;
}

/** Writes scenarios as they were recorded; comments at the head of the file are kept. */
export function writeScript(file: string, scenarios: readonly Scenario[]): void {
  const path = join(FOLDER, file);
  const head = readFileSync(path, "utf8").split("=== ", 1)[0] ?? "";
  const lines = scenarios.flatMap((scenario) => [
    `=== ${scenario.name}`,
    ...scenario.comments,
    ...scenario.config.map((line) => `config ${line}`),
    ...(scenario.filter === undefined ? [] : [`filter ${scenario.filter}`.trimEnd()]),
    ...(scenario.unasked ? ["unasked"] : []),
    ...scenario.steps.flatMap(({ line, replies }) => [
      line,
      ...replies.map((reply) => (reply === "closed" ? "closed" : `S: ${reply}`)),
    ]),
    ...scenario.asked.map((line) => `P: ${line}`),
    ...scenario.heard.map((line) => `F: ${line}`),
    ...scenario.log.map((line) => `L: ${line}`),
    "",
  ]);
  writeFileSync(path, head + lines.join("\n"));
}

/** What is the same in every run: names in place of queue IDs, ports and times. */
export const normal = (text: string): string =>
  text
    .replace(/(^|^warning: |queued as |queue_id=| id )[0-9A-F]{7,14}\b/g, "$1QUEUEID")
    .replace(/(free space in mail queue: )[0-9]+/, "$1N")
    // Postfix 3.11 has commas here, 3.12 has not
    .replace(/^discarding EHLO keywords: .*/, (line) => line.replaceAll(",", ""))
    .replace(/\b127\.0\.0\.1:[0-9]{4,5}\b/g, "127.0.0.1:PORT")
    .replace(/\]:[0-9]{4,5}\b/g, "]:PORT")
    .replace(/\bPORT=[0-9]+\b/g, "PORT=PORT")
    .replace(/\b(client_port|server_port)=[0-9]+$/, "$1=PORT")
    .replace(/^instance=[0-9a-f]+(?:\.[0-9a-f]+){3}$/, "instance=INSTANCE")
    .replace(/^(compatibility_level|mail_version)=.*$/, "$1=VERSION")
    .replace(/((?:message_arrival_time|create_time): ).*/, "$1TIME")
    .replace(/(log_client_port|named_attribute: client_port|named_attribute: server_port)=[0-9]+/, "$1=PORT")
    .replace(/^(\s*(?:message_size|content_length|message_file):? +).*/, "$1SIZE")
    .replace(/((?:Message-Id: |message_id=)<)[0-9]{14}\.[0-9A-F]+/, "$1ID")
    .replace(/(named_attribute: log_ident=)[0-9A-F]{7,}/, "$1QUEUEID")
    .replace(/\*\*\* ENVELOPE RECORDS .*/, "*** ENVELOPE RECORDS")
    .replace(/[A-Z][a-z]{2}, [ 0-9]?[0-9] [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} [+-][0-9]{4} \([A-Z]+\)/, "DATE")
    .replace(/[A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2}/, "TIME")
    .replace(/\/tmp\/posthaste-[A-Za-z0-9]+/g, "DIRECTORY");
