/** Posting one notice through cleanup. */
import { parameter } from "../../lib/config/configuration.ts";
import { postMail } from "../../lib/ipc/clients/cleanup.ts";
import { cleanupStatusDetail } from "../../lib/ipc/protocols/cleanup.ts";
import { SENDOPT } from "../../lib/ipc/protocols/delivery.ts";
import { type NoticeKind, noticePosted } from "../../lib/log/events/bounce.ts";
import { log } from "../../lib/log/log.ts";
import { type Notice, writeNotice } from "./report.ts";

/** `reason`: cleanup's, empty when it gave no answer. */
export type PostResult = { readonly ok: true } | { readonly ok: false; readonly reason: string };

/** `sender`: the notice's own envelope sender. When `wanted` is false the notice is written and dropped. */
export async function postNotice(
  sender: string,
  kind: NoticeKind,
  notice: Notice,
  wanted = true,
): Promise<PostResult> {
  const { report } = notice;
  const post = await postMail({
    sender,
    recipient: notice.recipient,
    class: "bounce",
    traceFlags: 0,
    sendopts: noticeOptions(report.sendopts),
  });
  log(noticePosted({ queueId: report.queueId, kind, notice: post.queueId }));
  try {
    await writeNotice(post, redacts(report.sendopts) ? { ...notice, headersOnly: true } : notice);
  } catch (error) {
    post.abandon();
    throw error;
  }
  if (!wanted) {
    // cleanup has read all of it, and logged its Message-Id, before it hears that it is not wanted
    await post.cancel();
    return { ok: true };
  }
  const { status, reason } = await post.finish();
  if (status === 0) return { ok: true };
  return { ok: false, reason: status < 0 ? "" : reason === "" ? cleanupStatusDetail(status).text : reason };
}

/** A notice about REQUIRETLS mail may go to where TLS is not to be had, but then it tells little (RFC 8689 section 5). */
const redacts = (sendopts: number): boolean =>
  (sendopts & SENDOPT.requireTls) !== 0 && parameter("requiretls_redact_dsn");

const noticeOptions = (sendopts: number): number =>
  sendopts & (SENDOPT.smtputf8Requested | (redacts(sendopts) ? 0 : SENDOPT.requireTls));

/** The sender of postmaster notices; mail from it is never reported to anybody. */
export const doubleBounceSender = (): string =>
  `${parameter("double_bounce_sender")}@${parameter("myhostname")}`;
