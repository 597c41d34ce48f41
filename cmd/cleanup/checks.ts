/** header_checks, body_checks and their like: what the result of a lookup does (header_checks(5)). */
import { contentAction } from "../../lib/log/events/cleanup.ts";
import { log, warning } from "../../lib/log/log.ts";
import { isHeader } from "../../lib/message/header.ts";
import { splitStatus, statusLength } from "../../lib/smtp/dsn.ts";
import { trimSpace, upperAscii } from "../../lib/sys/bytes.ts";
import type { Message } from "./message.ts";
import type { CheckTables } from "./settings.ts";

export type CheckContext = "header" | "body" | "content";

export interface Check {
  readonly tables: CheckTables;
  /** Parameter name. */
  readonly title: string;
  readonly context: CheckContext;
}

const CONTENT_LIMIT = 200;
const REJECTED = "message content rejected";

/** Logs an action with what is known of the message. */
export function logAction(
  message: Message,
  action: string,
  context: CheckContext,
  content: string,
  text: string,
): void {
  const { attributes } = message;
  log(
    contentAction({
      queueId: message.queueId,
      action,
      context,
      content: content.slice(0, CONTENT_LIMIT),
      origin: attributes.get("log_message_origin") ?? "unknown",
      from: message.logged(message.sender ?? ""),
      to: message.recipient === undefined ? undefined : message.logged(message.recipient),
      proto: attributes.get("log_protocol_name"),
      helo: attributes.get("log_helo_name"),
      text,
    }),
  );
}

/** Refuses the message for its content; gives the reason. */
export function rejectContent(message: Message, context: CheckContext, content: string, text: string): void {
  const reason = rejectReason(text === "" ? REJECTED : text);
  message.fail(reason.startsWith("4") ? "DEFER" : "CONT", reason);
  message.stopFiltering();
  logAction(message, "reject", context, content, reason);
}

/** The text with a status of class 4 or 5 in front. */
function rejectReason(text: string): string {
  const trimmed = trimSpace(text);
  if (statusLength(trimmed) === 0) return `5.7.1 ${trimmed}`;
  if (trimmed.startsWith("2")) {
    warning(`bad DSN action in ${trimmed} -- need 4.x.x or 5.x.x`);
    return `4${trimmed.slice(1)}`;
  }
  const { status, text: rest } = splitStatus(trimmed, "5.7.1");
  return `${status} ${rest}`;
}

/**
 * Looks a header or body line up and does what the table says. Gives the line that goes on, undefined when it is deleted.
 * `prepend` writes a line before it.
 */
export async function applyCheck(
  message: Message,
  check: Check,
  line: string,
  prepend: (text: string) => void,
): Promise<string | undefined> {
  const { tables, title, context } = check;
  const result = await tables.lookup(line);
  if (result.kind === "absent") return line;
  if (result.kind === "error") {
    message.warn(`${title} map lookup problem -- message not accepted, try again later`);
    message.fail("WRITE");
    return line;
  }
  const [, word = "", text = ""] = /^([^ \t]*)[ \t]*([\s\S]*)$/.exec(result.value) ?? [];
  const say = (action: string, what: string = text): void => logAction(message, action, context, line, what);
  switch (upperAscii(word)) {
    case "REJECT":
      rejectContent(message, context, line, text);
      return line;
    case "WARN":
      say("warning");
      return line;
    case "INFO":
      say("info");
      return line;
    case "FILTER":
      setFilter(message, title, text, () => say("filter"));
      return line;
    case "PASS":
      say("pass");
      message.stopFiltering();
      return line;
    case "DISCARD":
      say("discard");
      message.set("discard");
      message.stopFiltering();
      return line;
    case "HOLD":
      if (!message.has("hold") && !message.has("discard")) {
        say("hold");
        message.set("hold");
      }
      return line;
    case "PREPEND":
      if (!isUsable("PREPEND", text, check)) return line;
      say("prepend");
      prepend(text);
      return line;
    case "REPLACE":
      if (!isUsable("REPLACE", text, check)) return line;
      say("replace");
      return text;
    case "REDIRECT":
      if (!text.includes("@")) warning(`bad REDIRECT target "${text}" in ${title} map -- need user@domain`);
      else {
        message.redirect = text;
        say("redirect");
        message.stopFiltering();
      }
      return line;
    case "BCC":
      if (!text.includes("@")) warning(`bad BCC address "${text}" in ${title} map -- need user@domain`);
      else {
        if (!message.checkBcc.includes(text)) message.checkBcc.push(text);
        say("bcc");
      }
      return line;
    case "STRIP":
      say("strip");
      return undefined;
    case "IGNORE":
      return undefined;
    case "DUNNO":
    case "OK":
      return line;
    default:
      warning(`unknown command in ${title} map: ${result.value}`);
      return line;
  }
}

function isUsable(action: "PREPEND" | "REPLACE", text: string, { title, context }: Check): boolean {
  if (text === "") {
    warning(`${action} action without text in ${title} map`);
    return false;
  }
  if (context === "header" && !isHeader(text)) {
    warning(`bad ${action} header text "${text}" in ${title} map -- need "headername: headervalue"`);
    return false;
  }
  return true;
}

function setFilter(message: Message, title: string, text: string, say: () => void): void {
  if (text === "") {
    warning(`missing FILTER command argument in ${title} map`);
    return;
  }
  if (!text.includes(":")) {
    warning(`bad FILTER command ${text} in ${title} -- need transport:destination`);
    return;
  }
  message.filter = text;
  say();
}
