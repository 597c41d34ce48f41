/** Submits one message: envelope from the options, content from standard input (tools.md 2.6 to 2.9). */

import { parameter } from "../../lib/config/configuration.ts";
import { cleanupStatusDetail } from "../../lib/ipc/protocols/cleanup.ts";
import { fatal, warning } from "../../lib/log/log.ts";
import { TraceFlag } from "../../lib/queue/attributes.ts";
import { Rec } from "../../lib/queue/records.ts";
import { encodePreliminarySize } from "../../lib/queue/size_record.ts";
import { readInput } from "../../lib/submission/input.ts";
import { limitFileSize } from "../../lib/submission/size_limit.ts";
import { deniedUser } from "../../lib/submission/user_access.ts";
import { upperAscii } from "../../lib/sys/bytes.ts";
import { errorText } from "../../lib/sys/errno.ts";
import { writeSync } from "../../lib/sys/fs.ts";
import { lookupUserById, realUid, type User } from "../../lib/sys/identity.ts";
import { ContentCutter, type LineEndings } from "./content.ts";
import type { Settings } from "./options.ts";
import { addressesOf, argumentRecipients, headerRecipients } from "./recipients.ts";
import { openSink, type Sink } from "./sink.ts";

const INPUT_BUFFER = 64 * 1024;

export interface EnqueueContext {
  readonly environment: ReadonlyMap<string, string>;
  /** NAME of the environment, when that can be trusted. */
  readonly nameVariable: string | undefined;
}

/** The name and uid refused by authorized_submit_users are fatal. */
export async function checkSubmitAccess(): Promise<void> {
  const uid = realUid();
  const denied = await deniedUser("authorized_submit_users", uid);
  if (denied !== undefined) fatal(`User ${denied}(${uid}) is not allowed to submit mail`);
}

export async function enqueue(settings: Settings, context: EnqueueContext): Promise<void> {
  await checkSubmitAccess();
  limitFileSize();
  const uid = realUid();
  const user = lookupUserById(uid);
  const sender = senderAddress(settings, user, uid);
  const who = `${sender}(${uid})`;
  const lineEndings = readLineEndings();
  if (settings.verp !== "" && sender === "") fatal(`${who}: -V option requires non-null sender address`);

  const sink = await openSink({
    uid,
    who,
    verbose: settings.verbose > 1 ? settings.verbose : 0,
    environment: context.environment,
  });
  const put = async (type: number, data: string | Uint8Array = ""): Promise<void> => {
    try {
      await sink.put(type, data);
    } catch (error) {
      fatal(`${who}: error writing queue file: ${errorText(error)}`);
    }
  };
  const recipients = async (addresses: ReadonlyArray<string>): Promise<void> => {
    for (const address of addresses) {
      if (settings.notify !== 0) await put(Rec.ATTRIBUTE, `notify_flags=${settings.notify}`);
      await put(Rec.RECIPIENT, address);
    }
  };

  if (settings.sendOptions !== 0) await put(Rec.SIZE, encodePreliminarySize(settings.sendOptions));
  if (settings.envelopeId !== "") await put(Rec.ATTRIBUTE, `envelope_id=${settings.envelopeId}`);
  if (settings.returnFlags !== 0) await put(Rec.ATTRIBUTE, `ret_flags=${settings.returnFlags}`);
  await put(Rec.ATTRIBUTE, `rewrite_context=${settings.rewriteContext}`);
  const fullName = settings.fullName ?? context.nameVariable ?? gecosName(user);
  if (fullName !== undefined) await put(Rec.FULL_NAME, fullName);
  await put(Rec.FROM, sender);
  if (settings.encoding !== "") await put(Rec.ATTRIBUTE, `encoding=${settings.encoding}`);
  const traceFlags = settings.verifyOnly
    ? TraceFlag.USER_VERIFY
    : settings.verbose === 1
      ? TraceFlag.RECORD
      : 0;
  if (traceFlags !== 0) await put(Rec.ATTRIBUTE, `trace_flags=${traceFlags}`);
  if (settings.verp !== "") await put(Rec.VERP, settings.verp);
  const named = settings.operands.flatMap(argumentRecipients);
  await recipients(named);

  await put(Rec.CONTENT);
  let extracted: ReadonlyArray<string> = [];
  if (settings.verifyOnly) await probeContent(settings, sender, put);
  else extracted = await copyContent(settings, lineEndings, who, sink);
  await put(Rec.EXTRACTED);
  await recipients(extracted);
  if (named.length + extracted.length === 0)
    fatal(
      settings.extractRecipients
        ? `${who}: No recipient addresses found in message header`
        : `${who}: Recipient addresses must be specified on the command line or via the -t option`,
    );
  await put(Rec.END);
  await finish(sink, who);
  if (traceFlags !== 0) writeSync(1, `Mail Delivery Status Report will be mailed to <${sender}>.\n`);
}

async function finish(sink: Sink, who: string): Promise<void> {
  let result: Awaited<ReturnType<Sink["finish"]>>;
  try {
    result = await sink.finish();
  } catch (error) {
    fatal(`${who}: error writing queue file: ${errorText(error)}`);
  }
  if (result.status !== 0)
    fatal(`${who}: ${result.reason === "" ? cleanupStatusDetail(result.status).text : result.reason}`);
}

function senderAddress(settings: Settings, user: User | undefined, uid: number): string {
  if (settings.sender === undefined) return user?.name ?? fatal(`no login name found for user ID ${uid}`);
  const addresses = addressesOf(settings.sender);
  if (addresses.length > 1) warning(`-f option specified malformed sender: ${settings.sender}`);
  return addresses[0] ?? "";
}

/** The full name of the password entry: up to the first `,` `;` or `%`, `&` standing for the login name. */
export function gecosName(user: User | undefined): string | undefined {
  if (user === undefined) return undefined;
  const end = user.gecos.search(/[,;%]/);
  const name = end < 0 ? user.gecos : user.gecos.slice(0, end);
  const login = upperAscii(user.name.charAt(0)) + user.name.slice(1);
  return name.replaceAll("&", () => login);
}

function readLineEndings(): LineEndings {
  const value = parameter("sendmail_fix_line_endings");
  if (value === "always" || value === "strict" || value === "never") return value;
  fatal(`invalid sendmail_fix_line_endings value: ${value}`);
}

async function probeContent(
  settings: Settings,
  sender: string,
  put: (type: number, data: string) => Promise<void>,
): Promise<void> {
  if (sender !== "") await put(Rec.NORMAL, `From: ${sender}`);
  await put(Rec.NORMAL, "Subject: probe");
  await put(Rec.CONTINUED, "To:");
  const last = settings.operands.length - 1;
  for (const [index, operand] of settings.operands.entries())
    await put(Rec.NORMAL, `\t${operand}${index < last ? "," : ""}`);
}

/** Standard input to records; with -t gives the recipients of the headers. */
async function copyContent(
  settings: Settings,
  lineEndings: LineEndings,
  who: string,
  sink: Sink,
): Promise<ReadonlyArray<string>> {
  let wait: Promise<void> | undefined;
  const emit = (type: number, data: string | Uint8Array): void => {
    wait = sink.put(type, data) ?? wait;
  };
  const headers = settings.extractRecipients
    ? headerRecipients(emit, (reason) => fatal(`${who}: unable to extract recipients: ${reason}`))
    : undefined;
  const cutter = new ContentCutter(
    { limit: parameter("line_length_limit"), lineEndings, dotIsText: settings.dotIsText },
    headers?.record ?? emit,
  );
  const settle = async (): Promise<void> => {
    try {
      await wait;
    } catch (error) {
      fatal(`${who}: error writing queue file: ${errorText(error)}`);
    }
    wait = undefined;
  };
  const buffer = Buffer.allocUnsafeSlow(INPUT_BUFFER);
  for (;;) {
    let count: number;
    try {
      count = await readInput(0, buffer);
    } catch (error) {
      fatal(`${who}: error reading input: ${errorText(error)}`);
    }
    if (count === 0) {
      cutter.end();
      break;
    }
    const more = cutter.push(buffer.subarray(0, count));
    await settle();
    if (!more) break;
  }
  const extracted = headers?.end() ?? [];
  await settle();
  return extracted;
}
