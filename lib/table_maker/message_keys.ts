/** The headers and body lines of a message as keys of header_checks and body_checks (postmap -b, -h, -m). */
import { parameter } from "../config/configuration.ts";
import { LINE, type MimeEvent, MimeParser } from "../message/mime.ts";
import { fromBytes } from "../sys/bytes.ts";

export interface MessageParts {
  readonly headers: boolean;
  readonly body: boolean;
  readonly mime: boolean;
}

/** The keys of a message in their order. */
export function messageKeys(message: Buffer, parts: MessageParts): string[] {
  const keys: string[] = [];
  let headersEnded = false;
  const emit = (event: MimeEvent): void => {
    if (event.kind === "headersEnd") headersEnded = true;
    if (event.kind === "header" && parts.headers && (parts.mime || !headersEnded)) keys.push(event.text);
    if (event.kind === "body" && parts.body) keys.push(fromBytes(event.data));
  };
  const parser = new MimeParser(
    {
      disabled: !parts.mime,
      report: new Set(),
      headerSizeLimit: parameter("header_size_limit"),
      nestingLimit: parameter("mime_nesting_limit"),
      boundaryLimit: parameter("mime_boundary_length_limit"),
    },
    emit,
  );
  for (let at = 0; at < message.length; ) {
    const newline = message.indexOf(0x0a, at);
    const end = newline < 0 ? message.length : newline;
    parser.record(LINE, message.subarray(at, end));
    at = end + 1;
    if (headersEnded && !parts.body && !parts.mime) break;
  }
  parser.end();
  return keys;
}
