/** The Received: header of a message: RFC 5321 section 4.4. */
import { internalToExternal } from "../../lib/address/quote.ts";

export interface ReceivedFields {
  /** HELO name, or the client's name when there was none. */
  readonly helo: string;
  readonly clientName: string;
  /** With `IPv6:` for IPv6. */
  readonly clientAddress: string;
  readonly hostname: string;
  readonly mailName: string;
  /** `SMTP`, `ESMTP`, `UTF8SMTP`, with suffixes. */
  readonly protocol: string;
  readonly queueId: string | undefined;
  /** Internal form of the only recipient. */
  readonly recipient: string | undefined;
  readonly date: string;
  readonly authenticatedAs: string | undefined;
  /** smtpd_hide_client_session */
  readonly hideClient: boolean;
}

export function receivedLines(f: ReceivedFields): string[] {
  const lines: string[] = [];
  const id = f.queueId === undefined ? "" : ` id ${f.queueId}`;
  const end = f.recipient === undefined ? ";" : "";
  if (f.hideClient) lines.push(`Received: by ${f.hostname} (${f.mailName})${id}${end}`);
  else {
    lines.push(`Received: from ${f.helo} (${f.clientName} [${f.clientAddress}])`);
    if (f.authenticatedAs !== undefined) lines.push(`\t(Authenticated sender: ${f.authenticatedAs})`);
    lines.push(`\tby ${f.hostname} (${f.mailName}) with ${f.protocol}${id}${end}`);
  }
  lines.push(
    f.recipient === undefined ? `\t${f.date}` : `\tfor <${internalToExternal(f.recipient)}>; ${f.date}`,
  );
  return lines;
}
