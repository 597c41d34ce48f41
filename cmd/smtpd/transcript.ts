/** The transcript of a session with errors, mailed to the postmaster (notify_classes; smtpd.md 19). */

import { configuration } from "../../lib/config/configuration.ts";
import { fromFormat } from "../../lib/message/from_format.ts";
import type { Soon } from "../../lib/sys/when.ts";
import type { Session } from "./session.ts";
import { ERROR_CLASS } from "./session_end.ts";

const WIDTH = 78;
const CONTINUATION = "     ";

/** Reports what is remembered of the dialogue, when it holds an error worth it, and forgets it. */
export function sendTranscript(session: Session, reason?: string): Soon<void> {
  const { chat, settings } = session;
  const classes = session.errorClasses;
  const { history } = chat;
  if (history.length > 0) chat.history = [];
  session.errorClasses = 0;
  if (classes === 0 || session.standAlone || history.length === 0) return;
  let wanted = 0;
  for (const [name, bit] of Object.entries(ERROR_CLASS)) if (settings.notifyClasses.has(name)) wanted |= bit;
  if ((classes & wanted) !== 0) return notify(session, classes, history, reason);
}

async function notify(
  session: Session,
  classes: number,
  history: readonly string[],
  reason: string | undefined,
): Promise<void> {
  const current = configuration();
  const recipient = current.get(
    (classes & ERROR_CLASS.bounce) !== 0 ? "bounce_notice_recipient" : "error_notice_recipient",
  );
  const origin = current.get("myorigin");
  const obsolete = fromFormat() === "obsolete";
  const noticed = current.get("error_notice_recipient");
  const header = (name: string, address: string): string =>
    obsolete ? `${address} (${name})` : `${name} <${address}>`;
  const lines = [
    `From: ${header("Mail Delivery System", `MAILER-DAEMON@${origin}`)}`,
    `To: ${header("Postmaster", noticed)}`,
    `Subject: ${current.get("mail_name")} SMTP server: errors from ${session.nameAddress}`,
    "",
    "Transcript of session follows.",
    "",
    ...history.flatMap(folded),
    "",
  ];
  if (reason !== undefined) lines.push(`Session aborted, reason: ${reason}`);
  lines.push("", "For other details, see the local mail logfile");
  await session.services.sendNotice({
    sender: `${current.get("double_bounce_sender")}@${origin}`,
    recipient,
    lines,
  });
}

/** A line of the dialogue, behind a blank, folded at blanks to 78 columns. */
function folded(line: string): string[] {
  const lines: string[] = [];
  let rest = line;
  let indent = " ";
  let width = WIDTH;
  while (rest.length > width) {
    const blank = rest.lastIndexOf(" ", width);
    const next = blank > 5 ? blank : rest.indexOf(" ", width);
    if (next < 0) break;
    lines.push(indent + rest.slice(0, next));
    rest = rest.slice(next + 1);
    indent = CONTINUATION;
    width = WIDTH - 4;
  }
  lines.push(indent + rest);
  return lines;
}
