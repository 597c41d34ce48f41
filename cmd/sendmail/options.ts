/** sendmail's options: what kind of run this is, and the properties of a message (tools.md 2.3, 2.4). */

import { parameter } from "../../lib/config/configuration.ts";
import { optionLetters } from "../../lib/daemon/help.ts";
import { fatal, setVerbosity, verbose, verbosity, warning } from "../../lib/log/log.ts";
import { Notify } from "../../lib/queue/attributes.ts";
import { SendOption } from "../../lib/queue/size_record.ts";
import { isDigitCode, lowerAscii, splitAny, upperAscii } from "../../lib/sys/bytes.ts";
import { Getopt } from "../../lib/sys/getopt.ts";
import { isEnvelopeId } from "./envelope_id.ts";
import { HELP } from "./help.ts";

export const OPTION_LETTERS = optionLetters(HELP);

export type Mode = "enqueue" | "mailq" | "flush" | "daemon" | "newaliases" | "smtpd" | "ignore";

export interface Settings {
  mode: Mode;
  /** -qR, -qI */
  site: string | undefined;
  queueId: string | undefined;
  /** -q15m and the like: nothing to do, unless as a daemon. */
  interval: boolean;
  extractRecipients: boolean;
  /** A line with a single dot does not end the input. */
  dotIsText: boolean;
  sender: string | undefined;
  fullName: string | undefined;
  encoding: string;
  rewriteContext: "local" | "remote";
  notify: number;
  returnFlags: number;
  envelopeId: string;
  verp: string;
  sendOptions: number;
  /** -bv */
  verifyOnly: boolean;
  aliasFile: string | undefined;
  /** Number of -v options. */
  verbose: number;
  operands: ReadonlyArray<string>;
}

/** The mode that the program's name asks for. */
export const modeOfName = (name: string): Mode =>
  name === "mailq" ? "mailq" : name === "newaliases" ? "newaliases" : name === "smtpd" ? "daemon" : "enqueue";

const DAEMON_Q = "ignoring -q option in daemon mode";

/** Interprets all options. Misuse is fatal. */
export function readOptions(
  name: string,
  words: ReadonlyArray<string>,
  complain: (text: string) => void,
): Settings {
  const settings: Settings = {
    mode: modeOfName(name),
    site: undefined,
    queueId: undefined,
    interval: false,
    extractRecipients: false,
    dotIsText: false,
    sender: undefined,
    fullName: undefined,
    encoding: "",
    rewriteContext: "local",
    notify: 0,
    returnFlags: 0,
    envelopeId: "",
    verp: "",
    sendOptions: 0,
    verifyOnly: false,
    aliasFile: undefined,
    verbose: verbosity(),
    operands: [],
  };
  const options = new Getopt(words, OPTION_LETTERS);
  for (;;) {
    if (specialWord(options, settings)) continue;
    const option = options.next();
    if (option.kind === "end") break;
    if (option.kind === "invalid") {
      complain(option.text);
      fatal(`usage: ${name} [options]`);
    }
    takeOption(settings, option.letter, option.argument);
  }
  settings.operands = words.slice(options.index);
  checkCombination(settings);
  return settings;
}

/** Words that do not follow getopt's rules: a bare -q, and forms of -V. */
function specialWord(options: Getopt, settings: Settings): boolean {
  const { word } = options;
  if (word === undefined) return false;
  if (word === "-q") {
    if (settings.mode === "daemon") warning(DAEMON_Q);
    else settings.mode = "flush";
  } else if (word === "-V" && options.words[options.index + 1]?.length === 2) {
    warning("option -V is deprecated with Postfix 2.3; specify -XV instead");
    settings.verp = parameter("default_verp_delimiters");
  } else if (word.length === 4 && word.startsWith("-V")) {
    warning(`option ${word} is deprecated with Postfix 2.3; specify -X${word.slice(1)} instead`);
    setVerp(settings, word.slice(2));
  } else if (word === "-XV") setVerp(settings, parameter("default_verp_delimiters"));
  else return false;
  options.skip();
  return true;
}

function setVerp(settings: Settings, delimiters: string): void {
  const filter = parameter("verp_delimiter_filter");
  if (delimiters.length !== 2 || [...delimiters].some((char) => !filter.includes(char)))
    fatal(`-V requires two characters from ${filter}`);
  settings.verp = delimiters;
}

function takeOption(settings: Settings, letter: string, argument: string): void {
  switch (letter) {
    case "B":
      if (argument === "8BITMIME") settings.encoding = "8bit";
      else if (argument === "7BIT") settings.encoding = "7bit";
      else fatal("-B option needs 8BITMIME or 7BIT");
      return;
    case "C":
      // taken in the first pass
      return;
    case "F":
      settings.fullName = argument;
      return;
    case "G":
      settings.rewriteContext = "remote";
      return;
    case "I":
      settings.mode = "newaliases";
      return;
    case "N":
      settings.notify = notifyMask(argument) ?? settings.notify;
      return;
    case "O":
      sendOption(settings, argument);
      return;
    case "R":
      settings.returnFlags = returnFlags(argument) ?? settings.returnFlags;
      return;
    case "V":
      if (argument.length > 100) warning("too long -V option value -- ignored");
      else if (!isEnvelopeId(argument)) warning("bad syntax in -V option value -- ignored");
      else settings.envelopeId = argument;
      return;
    case "X":
      if (argument.startsWith("V")) setVerp(settings, argument.slice(1));
      else fatal(`unsupported: -X${argument.charAt(0)}`);
      return;
    case "b":
      takeMode(settings, argument);
      return;
    case "f":
    case "r":
      settings.sender = argument;
      return;
    case "i":
      settings.dotIsText = true;
      return;
    case "n":
      fatal("-n option not supported");
      break;
    case "o":
      takeOldOption(settings, argument);
      return;
    case "q":
      takeQueueOption(settings, argument);
      return;
    case "t":
      settings.extractRecipients = true;
      return;
    case "v":
      settings.verbose++;
      // a single -v asks for a delivery report
      if (settings.verbose > 1) setVerbosity(settings.verbose);
      return;
    default:
      verbose(() => `-${letter} option ignored`);
  }
}

function takeMode(settings: Settings, argument: string): void {
  const letter = argument.charAt(0);
  switch (letter) {
    case "d":
    case "l":
      if (settings.mode === "flush") warning(DAEMON_Q);
      settings.mode = "daemon";
      return;
    case "h":
    case "H":
      settings.mode = "ignore";
      return;
    case "i":
      settings.mode = "newaliases";
      return;
    case "m":
      settings.mode = "enqueue";
      return;
    case "p":
      settings.mode = "mailq";
      return;
    case "s":
      settings.mode = "smtpd";
      return;
    case "v":
      settings.verifyOnly = true;
      return;
    default:
      fatal(`unsupported: -b${letter}`);
  }
}

function takeOldOption(settings: Settings, argument: string): void {
  switch (argument.charAt(0)) {
    case "A":
      settings.aliasFile = argument.slice(1);
      if (settings.aliasFile === "") fatal("-oA requires pathname");
      return;
    case "i":
      settings.dotIsText = true;
      return;
    default:
      verbose(() => `-o${argument.charAt(0)} option ignored`);
  }
}

function takeQueueOption(settings: Settings, argument: string): void {
  if (isDigitCode(argument.charCodeAt(0))) {
    settings.interval = true;
    return;
  }
  const rest = argument.slice(1);
  switch (argument.charAt(0)) {
    case "I":
      if (rest === "") fatal("specify: -qIqueueid");
      settings.queueId = rest;
      return;
    case "R":
      if (rest === "") fatal("specify: -qRsitename");
      settings.site = rest;
      return;
    default:
      fatal(`-q${argument.charAt(0)} is not implemented`);
  }
}

const NOTIFY_NAMES = new Map<string, number>([
  ["NEVER", Notify.NEVER],
  ["SUCCESS", Notify.SUCCESS],
  ["FAILURE", Notify.FAILURE],
  ["DELAY", Notify.DELAY],
]);

function notifyMask(argument: string): number | undefined {
  let mask = 0;
  for (const word of splitAny(argument, ", \t\r\n")) {
    const bit = NOTIFY_NAMES.get(upperAscii(word));
    if (bit === undefined) {
      warning(`unknown DSN NOTIFY command value "${word}" in "${argument}"`);
      mask = 0;
      break;
    }
    mask |= bit;
  }
  if (mask !== 0 && (mask === Notify.NEVER || (mask & Notify.NEVER) === 0)) return mask;
  warning(`bad -N option value: '${argument}' -- ignored`);
  return undefined;
}

function returnFlags(argument: string): number | undefined {
  const word = lowerAscii(argument);
  if (word === "full") return 1;
  if (word === "hdrs") return 2;
  warning("bad -R option value -- ignored");
  return undefined;
}

const SEND_OPTIONS = [
  { name: "requiretls", bit: SendOption.REQUIRETLS, enabled: "requiretls_enable" },
  { name: "smtputf8", bit: SendOption.SMTPUTF8_REQUESTED, enabled: "smtputf8_enable" },
] as const;

function sendOption(settings: Settings, argument: string): void {
  const folded = lowerAscii(argument);
  for (const { name, bit, enabled } of SEND_OPTIONS) {
    if (folded === `${name}=yes` || folded === `${name}=no`) {
      if (!parameter(enabled)) {
        warning(
          name === "requiretls"
            ? `Ignoring option '-O ${argument}, because the configuration is 'requiretls_enable = no'`
            : `'-O ${argument}' was requested, but the configuration is 'smtputf8_enable = no'`,
        );
        return;
      }
      if (folded.endsWith("=yes")) settings.sendOptions |= bit;
      else settings.sendOptions &= ~bit;
      return;
    }
    const isPrefix = !folded.includes("=") && folded !== "" && name.startsWith(folded);
    if (folded.startsWith(`${name}=`) || isPrefix) {
      warning(`bad -O option: '${argument}' -- ignored`);
      return;
    }
  }
}

function checkCombination(settings: Settings): void {
  if (settings.mode !== "enqueue") {
    if (settings.extractRecipients) fatal("-t can be used only in delivery mode");
    if (settings.site !== undefined) fatal("-qR can be used only in delivery mode");
    if (settings.queueId !== undefined) fatal("-qI can be used only in delivery mode");
  }
  if (!settings.verifyOnly) return;
  if (settings.extractRecipients) fatal("-t option cannot be used with -bv");
  if (settings.notify !== 0) fatal("-N option cannot be used with -bv");
  if (settings.returnFlags !== 0) fatal("-R option cannot be used with -bv");
  if (settings.verbose === 1) fatal("-v option cannot be used with -bv");
}
