/** The command line of smtp-source. */

import { hostname } from "node:os";
import { optionLetters } from "../../lib/daemon/help.ts";
import { complain, parseOptions } from "../../lib/daemon/options.ts";
import type { Invocation } from "../../lib/daemon/program.ts";
import type { Family } from "../../lib/load/endpoint.ts";
import { fatal, setVerbosity, verbosity } from "../../lib/log/log.ts";
import { pathOf } from "../../lib/sys/bytes.ts";
import { errorText } from "../../lib/sys/errno.ts";
import { readFileSync } from "../../lib/sys/fs.ts";
import { readDecimal } from "../../lib/sys/numbers.ts";
import { HELP } from "./help.ts";

export interface Settings {
  readonly endpoint: string;
  family: Family;
  /** Refusals and the like are warnings. */
  tolerant: boolean;
  count: boolean;
  connectAttempts: number;
  keepConnection: boolean;
  sender: string;
  recipient: string;
  /** A whole message in place of ours. */
  content: Uint8Array | undefined;
  /** Bytes of body; undefined for a few lines of text. */
  length: number | undefined;
  lmtp: boolean;
  messages: number;
  hostName: string;
  numbered: boolean;
  /** No HELO, no header. */
  old: boolean;
  recipients: number;
  sessions: number;
  subject: string | undefined;
  /** Bytes, 0 for the system's own. */
  windowSize: number;
  /** Seconds before each message: a fixed time, or a random one up to this. */
  delay: { readonly kind: "none" | "fixed" | "random"; readonly seconds: number };
}

const LIMIT = 0x7fffffff;

export function readSettings({ args, argv0 }: Invocation): Settings {
  const usage = (): never =>
    fatal(
      `usage: ${argv0} -cdLNov -s sess -l msglen -m msgs -C count -M myhostname -f from -t to -r rcptcount -R delay -w delay host[:port]`,
    );
  const positive = (text: string, what: string): number => {
    const value = readDecimal(text, LIMIT);
    return value === undefined || value === 0 ? fatal(`bad ${what}: ${text}`) : value;
  };
  const parsed = parseOptions(args, optionLetters(HELP));
  if (!parsed.ok) {
    complain(argv0, parsed);
    return usage();
  }
  const settings: Omit<Settings, "endpoint"> = {
    family: 0,
    tolerant: false,
    count: false,
    connectAttempts: 1,
    keepConnection: false,
    sender: "",
    recipient: "",
    content: undefined,
    length: undefined,
    lmtp: false,
    messages: 1,
    hostName: hostname(),
    numbered: false,
    old: false,
    recipients: 1,
    sessions: 1,
    subject: undefined,
    windowSize: 0,
    delay: { kind: "none", seconds: 0 },
  };
  for (const { option, value } of parsed.options) {
    switch (option) {
      case "4":
      case "6":
        settings.family = option === "4" ? 4 : 6;
        break;
      case "A":
        settings.tolerant = true;
        break;
      case "c":
        settings.count = true;
        break;
      case "C":
        settings.connectAttempts = positive(value, "connection count");
        break;
      case "d":
        settings.keepConnection = true;
        break;
      case "f":
        settings.sender = value;
        break;
      case "F":
        settings.content = readContent(value);
        break;
      case "l":
        settings.length = positive(value, "message length");
        break;
      case "L":
        settings.lmtp = true;
        break;
      case "m":
        settings.messages = positive(value, "message count");
        break;
      case "M":
        settings.hostName = value;
        break;
      case "N":
        settings.numbered = true;
        break;
      case "o":
        settings.old = true;
        break;
      case "r":
        settings.recipients = positive(value, "recipient count");
        break;
      case "R":
        refuseOther(settings, "fixed");
        settings.delay = { kind: "random", seconds: positive(value, "random delay") };
        break;
      case "s":
        settings.sessions = positive(value, "session count");
        break;
      case "S":
        settings.subject = value;
        break;
      case "t":
        settings.recipient = value;
        break;
      case "T":
        settings.windowSize = positive(value, "TCP window size");
        break;
      case "v":
        setVerbosity(verbosity() + 1);
        break;
      case "w":
        refuseOther(settings, "random");
        settings.delay = { kind: "fixed", seconds: positive(value, "fixed delay") };
    }
  }
  const [endpoint, ...more] = parsed.operands;
  if (endpoint === undefined || more.length > 0) return usage();
  const own = `foo@${settings.hostName}`;
  if (settings.sender === "") settings.sender = own;
  if (settings.recipient === "") settings.recipient = own;
  return { ...settings, endpoint };
}

function readContent(path: string): Uint8Array {
  try {
    return readFileSync(pathOf(path));
  } catch (error) {
    return fatal(`open ${path}: ${errorText(error)}`);
  }
}

function refuseOther({ delay }: Pick<Settings, "delay">, other: "fixed" | "random"): void {
  if (delay.kind === other) fatal("do not use -w and -R options at the same time");
}
