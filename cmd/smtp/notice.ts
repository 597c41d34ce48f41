/** Transcripts of strange sessions for the postmaster (notify_classes). */
import { parameter } from "../../lib/config/configuration.ts";
import { postMail } from "../../lib/ipc/clients/cleanup.ts";
import { ClientAbort, warning } from "../../lib/log/log.ts";
import { nameAddressPort, type SmtpSession } from "../../lib/smtp/client_session.ts";
import { equalFold, printable } from "../../lib/sys/bytes.ts";
import type { Settings } from "./settings.ts";

export type NoticeClass = "protocol" | "data";

/** What happened in one session that a postmaster may want to know. */
export class SessionNotes {
  readonly #classes = new Set<NoticeClass>();
  mark(noticeClass: NoticeClass): void {
    this.#classes.add(noticeClass);
  }
  /** Whether one of the classes was asked for. */
  wanted(settings: Pick<Settings, "notifyClasses">): boolean {
    for (const noticeClass of this.#classes) if (settings.notifyClasses.has(noticeClass)) return true;
    return false;
  }
}

/** Whether sessions need a transcript at all. */
export const keepsTranscript = (settings: Pick<Settings, "notifyClasses">): boolean =>
  settings.notifyClasses.has("protocol") || settings.notifyClasses.has("data");

const WIDTH = 78;
const INDENT = 4;

/** Breaks a line at blanks where it is longer than the width; continuation lines are indented. */
export function wrapLine(line: string): string[] {
  const lines: string[] = [];
  let rest = line;
  let room = WIDTH;
  while (rest.length > room) {
    const blank = rest.lastIndexOf(" ", room);
    const at = blank > INDENT ? blank : room;
    lines.push(rest.slice(0, at));
    rest = " ".repeat(INDENT) + rest.slice(blank > INDENT ? at + 1 : at);
    room = WIDTH;
  }
  lines.push(rest);
  return lines;
}

/** Mails the transcript, unless the message is itself such a notice or a bounce. */
export async function notifyPostmaster(
  session: SmtpSession,
  sender: string,
  traceFlags: number,
  settings: Settings,
): Promise<void> {
  const [local = ""] = sender.split("@", 1);
  if (sender === "" || equalFold(local, parameter("double_bounce_sender"))) return;
  const peer = nameAddressPort(session.peer);
  const myhostname = parameter("myhostname");
  const recipient = parameter("error_notice_recipient");
  try {
    const post = await postMail({
      sender: `${parameter("double_bounce_sender")}@${myhostname}`,
      recipient,
      class: "notify",
      traceFlags,
      sendopts: 0,
    });
    const what = settings.mode === "smtp" ? "SMTP" : "LMTP";
    for (const line of [
      `From: Mail Delivery System <MAILER-DAEMON@${myhostname}>`,
      `To: Postmaster <${recipient}>`,
      `Subject: ${parameter("mail_name")} ${what} client: errors from ${peer}`,
      "",
      `Unexpected response from ${peer}.`,
      "",
      "Transcript of session follows.",
      "",
    ])
      post.line(line);
    for (const line of session.transcript)
      for (const piece of wrapLine(printable(line, settings.utf8))) post.line(piece);
    post.line("");
    post.line("For other details, see the local mail logfile");
    const { status } = await post.finish();
    if (status !== 0) warning("postmaster notify: cleanup service failure");
  } catch (error) {
    if (!(error instanceof ClientAbort)) throw error;
    warning(`postmaster notify: ${error.message}`);
  }
}
