/** The command line of smtp-sink. */
import { optionLetters } from "../../lib/daemon/help.ts";
import { complain, parseOptions } from "../../lib/daemon/options.ts";
import type { Invocation } from "../../lib/daemon/program.ts";
import { error, fatal, setVerbosity, verbosity } from "../../lib/log/log.ts";
import { readDecimal } from "../../lib/sys/numbers.ts";
import { Behaviours } from "./commands.ts";
import { HELP } from "./help.ts";

export type Feature =
  | "8bitmime"
  | "auth"
  | "xclient"
  | "xforward"
  | "enhanced"
  | "dsn"
  | "pipelining"
  | "esmtp";

export interface DumpSettings {
  readonly template: string;
  readonly kind: "single" | "append";
}

export interface Settings {
  readonly endpoint: string;
  readonly backlog: number;
  /** Address family, 0 for both. */
  family: 0 | 4 | 6;
  readonly off: Set<Feature>;
  readonly behaviours: Behaviours;
  /** Seconds between the reply to DATA and the end of the session. */
  abortDelay: number | undefined;
  softReply: string;
  hardReply: string;
  count: boolean;
  dump: DumpSettings | undefined;
  hostName: string;
  /** Seconds before the content is read. */
  readDelay: number;
  lmtp: boolean;
  pix: boolean;
  maxConcurrency: number;
  /** 0: no end. */
  messageLimit: number;
  sessionLimit: number;
  root: string | undefined;
  startText: string;
  /** Seconds. */
  timeLimit: number;
  /** Bytes, 0 for the system's own. */
  windowSize: number;
  user: string | undefined;
}

const LIMIT = 0x7fffffff;

export function readSettings({ args, argv0 }: Invocation): Settings {
  const usage = (): never =>
    fatal(
      `usage: ${argv0} [-468acCeEFLpPv] [-A abort_delay] [-b soft_bounce_reply] [-B hard_bounce_reply] [-d dump-template] [-D dump-template] [-f commands] [-h hostname] [-m max_concurrency] [-M message_quit_count] [-n quit_count] [-q commands] [-r commands] [-R root-dir] [-s commands] [-S start-string] [-u user_privs] [-w delay] [host]:port backlog`,
    );
  const number = (text: string, problem: string): number => {
    const value = readDecimal(text, LIMIT);
    return value === undefined || value === 0 ? fatal(`${problem}: ${text}`) : value;
  };
  const delay = (text: string): number => readDecimal(text, LIMIT) ?? usage();
  const parsed = parseOptions(args, optionLetters(HELP));
  if (!parsed.ok) {
    complain(argv0, parsed);
    return usage();
  }
  const settings: Omit<Settings, "endpoint" | "backlog"> = {
    family: 0,
    off: new Set(),
    behaviours: new Behaviours(),
    abortDelay: undefined,
    softReply: "450 4.3.0 Error: command failed",
    hardReply: "500 5.3.0 Error: command failed",
    count: false,
    dump: undefined,
    hostName: "smtp-sink",
    readDelay: 0,
    lmtp: false,
    pix: false,
    maxConcurrency: 256,
    messageLimit: 0,
    sessionLimit: 0,
    root: undefined,
    startText: "",
    timeLimit: 100,
    windowSize: 0,
    user: undefined,
  };
  const { behaviours, off } = settings;
  const reply = (value: string, digit: string, kind: string): string => {
    if (new RegExp(`^${digit}\\d\\d( |$)`).test(value)) return value;
    error(`bad ${kind} error reply: ${value}`);
    return usage();
  };
  for (const { option, value } of parsed.options) {
    switch (option) {
      case "4":
      case "6":
        settings.family = option === "4" ? 4 : 6;
        break;
      case "8":
        off.add("8bitmime");
        break;
      case "a":
        off.add("auth");
        break;
      case "A":
        settings.abortDelay = delay(value);
        break;
      case "b":
        settings.softReply = reply(value, "4", "soft");
        break;
      case "B":
        settings.hardReply = reply(value, "5", "hard");
        break;
      case "c":
        settings.count = true;
        break;
      case "C":
        off.add("xclient");
        break;
      case "d":
      case "D":
        settings.dump = { template: value, kind: option === "d" ? "single" : "append" };
        break;
      case "e":
        off.add("esmtp");
        break;
      case "E":
        off.add("enhanced");
        break;
      case "f":
      case "r":
        behaviours.change(value, { refusal: option === "f" ? "hard" : "soft" });
        off.add("pipelining");
        break;
      case "F":
        off.add("xforward");
        break;
      case "h":
        settings.hostName = value;
        break;
      case "H":
        settings.readDelay = delay(value);
        break;
      case "L":
        settings.lmtp = true;
        break;
      case "m":
        settings.maxConcurrency = number(value, "bad concurrency limit");
        break;
      case "M":
        settings.messageLimit = number(value, "bad message quit count");
        break;
      case "n":
        settings.sessionLimit = number(value, "bad quit count");
        break;
      case "N":
        off.add("dsn");
        break;
      case "p":
        off.add("pipelining");
        break;
      case "P":
        settings.pix = true;
        off.add("esmtp");
        break;
      case "q":
      case "Q":
        behaviours.change(value, { disconnect: option === "q" ? "silent" : "421" });
        break;
      case "R":
        settings.root = value;
        break;
      case "s":
        behaviours.change(value, { logged: true });
        break;
      case "S":
        settings.startText = expandEscapes(value);
        break;
      case "t":
        settings.timeLimit = number(value, "bad timeout");
        break;
      case "T":
        settings.windowSize = number(value, "bad TCP window size");
        break;
      case "u":
        settings.user = value;
        break;
      case "v":
        setVerbosity(verbosity() + 1);
        break;
      case "w":
        behaviours.change("data", { delay: delay(value) });
        break;
      case "W":
        readDelay(value, behaviours);
    }
  }
  const [endpoint, backlogText = "", ...more] = parsed.operands;
  const backlog = readDecimal(backlogText, LIMIT);
  if (endpoint === undefined || backlog === undefined || backlog === 0 || more.length > 0) return usage();
  if (process.getuid?.() === 0 && settings.user === undefined)
    fatal("-u option is required if running as root");
  return { ...settings, endpoint, backlog };
}

/** `command:delay[:odds]` */
function readDelay(text: string, behaviours: Behaviours): void {
  const [name = "", delayText, oddsText] = text.split(":");
  if (delayText === undefined) fatal(`invalid command delay argument: ${text}`);
  behaviours.change(name, {});
  const delay = readDecimal(delayText, LIMIT) ?? 0;
  if (delay === 0) fatal(`non-positive '${name}' delay`);
  const odds = oddsText === undefined ? 0 : (readDecimal(oddsText, LIMIT) ?? -1);
  if (oddsText !== undefined && (odds < 1 || odds > 99)) fatal(`delay odds for '${name}' out of range`);
  behaviours.change(name, { delay, odds });
}

const ESCAPES: ReadonlyMap<string, string> = new Map([
  ["a", "\x07"],
  ["b", "\b"],
  ["f", "\f"],
  ["n", "\n"],
  ["r", "\r"],
  ["t", "\t"],
  ["v", "\v"],
  ["\\", "\\"],
]);

/** C's escape sequences; an unknown one stands for the character after the backslash. */
const expandEscapes = (text: string): string =>
  text.replace(/\\([0-7]{1,3}|[\s\S])/g, (_, code: string) =>
    /^[0-7]/.test(code) ? String.fromCharCode(Number.parseInt(code, 8) & 255) : (ESCAPES.get(code) ?? code),
  );
