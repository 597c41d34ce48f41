/** The verbs, in the order of the disconnect statistics (smtpd.md 2). */
import { lowerAscii } from "../../lib/sys/bytes.ts";
import type { Verb, VerbHandler } from "./verb.ts";
import { auth } from "./verbs/auth.ts";
import { bdat } from "./verbs/bdat.ts";
import { data } from "./verbs/data.ts";
import { etrn } from "./verbs/etrn.ts";
import { ehlo, helo } from "./verbs/helo.ts";
import { mail } from "./verbs/mail.ts";
import { rcpt } from "./verbs/rcpt.ts";
import { help, noop, quit, rset } from "./verbs/simple.ts";
import { startTls } from "./verbs/starttls.ts";
import { vrfy } from "./verbs/vrfy.ts";
import { xclient } from "./verbs/xclient.ts";
import { xforward } from "./verbs/xforward.ts";

type Flags = Partial<Record<"junk" | "beforeTls" | "last", true>>;

const verb = (name: string, run: VerbHandler, flags: Flags = {}): Omit<Verb, "place"> => ({
  name,
  run,
  junk: flags.junk === true,
  beforeTls: flags.beforeTls === true,
  last: flags.last === true,
});

const IN_ORDER = [
  verb("HELO", helo, { junk: true, beforeTls: true, last: true }),
  verb("EHLO", ehlo, { junk: true, beforeTls: true, last: true }),
  verb("XCLIENT", xclient, { beforeTls: true }),
  verb("XFORWARD", xforward),
  verb("STARTTLS", startTls, { beforeTls: true }),
  verb("AUTH", auth),
  verb("MAIL", mail),
  verb("RCPT", rcpt),
  verb("DATA", data, { last: true }),
  verb("BDAT", bdat),
  verb("RSET", rset, { junk: true }),
  verb("NOOP", noop, { junk: true, beforeTls: true, last: true }),
  verb("VRFY", vrfy, { junk: true, last: true }),
  verb("ETRN", etrn, { junk: true }),
  verb("QUIT", quit, { beforeTls: true }),
  verb("HELP", help, { beforeTls: true }),
];

export const VERBS: ReadonlyMap<string, Verb> = new Map(
  IN_ORDER.map((entry, place): [string, Verb] => [entry.name, { ...entry, place }]),
);

/** What is counted under each place of the disconnect statistics; the last one is for what is no verb. */
export const LABELS: ReadonlyArray<string> = [...IN_ORDER.map(({ name }) => lowerAscii(name)), "unknown"];
export const NO_VERB = IN_ORDER.length;
