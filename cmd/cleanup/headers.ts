/** Headers: checks, logging, rewriting, and the ones that are missing at the end (RFC 5322 3.6). */
import { internalToExternal } from "../../lib/address/quote.ts";
import { SENDOPT } from "../../lib/ipc/protocols/delivery.ts";
import { messageId, resentMessageId } from "../../lib/log/events/cleanup.ts";
import { log, warning } from "../../lib/log/log.ts";
import { mailDate } from "../../lib/message/date.ts";
import {
  foldedHeaderInfo,
  foldHeader,
  type HeaderInfo,
  headerName,
  headerValue,
  isHeader,
} from "../../lib/message/header.ts";
import { generateMessageId, leadingMessageId } from "../../lib/message/message_id.ts";
import type { HeaderClass, HeaderEvent } from "../../lib/message/mime.ts";
import { equalFold, isAscii, lowerAscii, printable } from "../../lib/sys/bytes.ts";
import type { Addresses } from "./addresses.ts";
import { applyCheck, type Check } from "./checks.ts";
import { fromHeader } from "./full_name.ts";
import { putHeader } from "./header_output.ts";
import { rewriteHeader } from "./header_rewrite.ts";
import type { Message } from "./message.ts";
import type { CleanupSettings } from "./settings.ts";

interface Header {
  readonly text: string;
  readonly info: HeaderInfo | undefined;
  /** Its name in lower case. */
  readonly name: string;
  readonly headerClass: HeaderClass;
}

const SAMPLE_LIMIT = 100;

export class Headers {
  readonly #checks: Readonly<Record<HeaderClass, Check>>;

  constructor(
    private readonly settings: CleanupSettings,
    private readonly addresses: Addresses,
  ) {
    const { tables } = settings;
    this.#checks = {
      primary: { tables: tables.headerChecks, title: "header_checks", context: "header" },
      mime: { tables: tables.mimeHeaderChecks, title: "mime_header_checks", context: "header" },
      nested: { tables: tables.nestedHeaderChecks, title: "nested_header_checks", context: "header" },
    };
  }

  /** One complete header. */
  header(message: Message, event: HeaderEvent): Promise<void> | undefined {
    if (!message.accepts) return undefined;
    if (event.headerClass === "primary" && event.info?.name === "Received") message.hops++;
    const check = this.#checks[event.headerClass];
    return !message.has("filter") || check.tables.empty
      ? this.unchecked(message, event)
      : this.checked(message, event, check).then((header) => header && this.unchecked(message, header));
  }

  private unchecked(message: Message, header: Header): Promise<void> | undefined {
    const { info, name, text } = header;
    if (info?.name === "Content-Transfer-Encoding") this.noteEncoding(message, text);
    if (header.headerClass !== "primary") {
      this.put(message, text);
      return undefined;
    }
    if (info !== undefined) this.note(message, info, text);
    if (!message.accepts) return undefined;
    if (this.settings.dropHeaders.has(name)) return undefined;
    const addresses = info?.addresses;
    if (addresses === undefined || message.headerContext === "none") {
      this.put(message, text);
      return undefined;
    }
    const rewritten = rewriteHeader(message, this.addresses, text, name.length, addresses);
    if (rewritten instanceof Promise) return rewritten.then((done) => this.put(message, done));
    this.put(message, rewritten);
    return undefined;
  }

  /** The header after the table lookup; undefined when it is deleted. */
  private async checked(message: Message, header: Header, check: Check): Promise<Header | undefined> {
    const text = await applyCheck(message, check, header.text, (line) => this.put(message, line));
    if (text === undefined) return undefined;
    if (text === header.text) return header;
    const name = lowerAscii(headerName(text));
    const info = foldedHeaderInfo(name);
    const headerClass = header.headerClass === "primary" && info?.mime === true ? "mime" : header.headerClass;
    return { text, info, name, headerClass };
  }

  private noteEncoding(message: Message, text: string): void {
    if (!this.settings.detectEightBit) return;
    const value = lowerAscii(headerValue(text));
    if (value === "8bit" || value === "binary") message.encoding = "8bit";
  }

  /** Remembers what a primary header says. */
  private note(message: Message, info: HeaderInfo, text: string): void {
    message.seenHeaders.add(info.name);
    if (info.resent === true) message.resent = true;
    switch (info.name) {
      case "Message-Id": {
        const value = headerValue(text);
        log(messageId({ queueId: message.queueId, id: value }));
        message.messageId ??= leadingMessageId(value, this.settings.smtputf8);
        return;
      }
      case "Resent-Message-Id":
        log(resentMessageId({ queueId: message.queueId, id: headerValue(text) }));
        return;
      case "Received":
        if (message.hops < this.settings.hopcountLimit) return;
        message.warn("message rejected: hopcount exceeded");
        message.fail("HOPS");
        return;
      case "TLS-Required":
        if (!this.settings.tlsRequired) return;
        if (equalFold(headerValue(text), "no")) message.sendOptions |= SENDOPT.tlsRequiredNo;
        else warning(`ignoring malformed header: '${printable(text.slice(0, SAMPLE_LIMIT))}'`);
        return;
      case "Require-TLS-ESMTP":
        if (this.settings.requireTlsHeader && equalFold(headerValue(text), "yes"))
          message.sendOptions |= SENDOPT.requireTls;
        return;
    }
  }

  private put(message: Message, text: string): void {
    if (!isAscii(text) && this.settings.smtputf8) {
      message.sendOptions |= SENDOPT.smtputf8Header;
      if (message.has("smtputf8Autodetect")) message.sendOptions |= SENDOPT.smtputf8Requested;
    }
    putHeader(message, text, this.settings.headerSizeLimit);
  }

  /** Adds what is missing after the last primary header. */
  end(message: Message, terminatedByText: boolean): void {
    if (!message.accepts) return;
    const { settings } = this;
    const seen = (name: string): boolean => message.seenHeaders.has(name);
    if (!seen("Received")) {
      message.reject("no Received: header");
      return;
    }
    const resent = message.resent ? "Resent-" : "";
    const adding = message.headerContext !== "none" || settings.alwaysAddMissingHeaders;
    if (adding && !seen(`${resent}Message-Id`)) this.addMessageId(message, resent);
    if (!seen("Message-Id")) log(messageId({ queueId: message.queueId, id: "<>" }));
    if (adding && !seen(`${resent}Date`)) {
      const { seconds } = message.arrival ?? message.created;
      this.put(message, `${resent}Date: ${mailDate(seconds)}`);
    }
    if (adding && !seen(`${resent}From`)) this.put(message, foldHeader(resent + this.from(message)));
    if (
      adding &&
      settings.undisclosedRecipientsHeader !== "" &&
      !["To", "Cc", "Resent-To", "Resent-Cc"].some(seen)
    )
      this.addUndisclosedRecipients(message);
    if (
      settings.requireTlsHeader &&
      (message.sendOptions & SENDOPT.requireTls) !== 0 &&
      !seen("Require-TLS-ESMTP")
    )
      this.put(message, "Require-TLS-ESMTP: yes");
    if (terminatedByText && settings.endOfHeader === "add_header")
      this.put(message, "MIME-Error: message header was not terminated by empty line");
  }

  private addMessageId(message: Message, resent: string): void {
    const { queueId } = message;
    const { myhostname, longQueueIds } = this.settings;
    const id = generateMessageId(queueId, message.created.seconds, myhostname, longQueueIds);
    this.put(message, `${resent}Message-Id: ${id}`);
    if (resent === "") {
      log(messageId({ queueId, id }));
      message.messageId ??= id;
      message.seenHeaders.add("Message-Id");
    } else log(resentMessageId({ queueId, id }));
  }

  private from(message: Message): string {
    const { sender } = message;
    const { fromFormat, fullNameCharset } = this.settings;
    if (sender === undefined || sender === "") return "From: MAILER-DAEMON";
    const options = { format: fromFormat, charset: fullNameCharset };
    return fromHeader(internalToExternal(sender), message.fullName ?? "", options);
  }

  private addUndisclosedRecipients(message: Message): void {
    const { undisclosedRecipientsHeader: text } = this.settings;
    if (isHeader(text)) this.put(message, text);
    else warning(`bad undisclosed_recipients_header header text "${text}" -- need "headername: headervalue"`);
  }
}
