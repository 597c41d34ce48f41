/** Senders and recipients on their way into the queue file: cleaned, expanded, without duplicates, with their automatic copies. */
import { type AddressTables, lookupAddress } from "../../lib/address/lookup.ts";
import { NOTIFY, SENDOPT } from "../../lib/ipc/protocols/delivery.ts";
import { Rec } from "../../lib/queue/records.ts";
import { equalFold, isAscii, isValidUtf8, lowerAscii } from "../../lib/sys/bytes.ts";
import { type Soon, when } from "../../lib/sys/when.ts";
import type { Addresses } from "./addresses.ts";
import type { Message } from "./message.ts";

/** A recipient with its DSN parameters. */
export interface RecipientEntry {
  readonly address: string;
  readonly original: string;
  readonly dsnOriginal: string;
  readonly notify: number;
}

/** What recipients need of other services. */
export interface RecipientServices {
  /** Tells verify(8) that a probed address is an alias of many. */
  reportMultiple(message: Message, recipient: RecipientEntry): Promise<void>;
  /** Records that an alias was expanded for a recipient with NOTIFY=SUCCESS; false when that failed. */
  traceExpansion(message: Message, recipient: RecipientEntry): Promise<boolean>;
}

const MTA_PROBE = 256;
const PROBLEM = "map lookup problem -- message not accepted, try again later";

export class Recipients {
  constructor(
    private readonly addresses: Addresses,
    private readonly services: RecipientServices,
  ) {}

  /** The envelope sender as it goes into the queue file, then its automatic copies. */
  sender(message: Message, text: string): Promise<void> | undefined {
    const put = (sender: string): Promise<void> | undefined => {
      this.noteSenderUtf8(message, sender);
      message.put(Rec.FROM, sender);
      message.sender = sender;
      const { senderBcc } = this.addresses.settings.tables;
      return message.has("bcc") && sender !== "" && !senderBcc.empty
        ? this.copies(message, senderBcc, "sender_bcc_maps", sender)
        : undefined;
    };
    const sender = when(this.cleanSender(text), (clean) =>
      this.addresses.canonical(message, clean, "envelope_sender"),
    );
    return sender instanceof Promise ? sender.then(put) : put(sender);
  }

  private cleanSender(text: string): Soon<string> {
    if (text === "") return "";
    const { addresses } = this;
    return when(addresses.rewrite(text), (sender) =>
      isMailerDaemon(sender)
        ? when(addresses.rewrite("MAILER-DAEMON"), (own) => (equalFold(sender, own) ? "" : sender))
        : sender,
    );
  }

  private noteSenderUtf8(message: Message, sender: string): void {
    if (!this.addresses.settings.smtputf8 || isAscii(sender) || !isValidUtf8(sender)) return;
    message.sendOptions |= SENDOPT.smtputf8Sender;
    if (message.has("smtputf8Autodetect")) message.sendOptions |= SENDOPT.smtputf8Requested;
  }

  /** A recipient as received, with what the client said about it. */
  recipient(message: Message, text: string): Promise<void> | undefined {
    const { next } = message;
    message.next = { original: undefined, dsnOriginal: undefined, notify: 0 };
    const add = (cleaned: string): Promise<void> | undefined => {
      message.recipient = cleaned;
      const dsnOriginal = next.dsnOriginal ?? this.dsnOriginal(message, cleaned);
      const original = next.original ?? text;
      const pending = this.output(message, { address: cleaned, original, dsnOriginal, notify: next.notify });
      const { recipientBcc } = this.addresses.settings.tables;
      if (!message.has("bcc") || recipientBcc.empty) return pending;
      const copy = (): Promise<void> => this.copies(message, recipientBcc, "recipient_bcc_maps", cleaned);
      return pending === undefined ? copy() : pending.then(copy);
    };
    const cleaned = this.clean(message, text);
    return cleaned instanceof Promise ? cleaned.then(add) : add(cleaned);
  }

  /** Adds a recipient of our own: a copy for somebody else, of which nobody is told. */
  async automatic(message: Message, text: string): Promise<void> {
    const address = await this.clean(message, text);
    await this.output(message, { address, original: address, dsnOriginal: "", notify: NOTIFY.never });
  }

  private clean(message: Message, text: string): Soon<string> {
    const { addresses } = this;
    const rewritten = addresses.rewrite(text === "" ? addresses.settings.emptyAddressRecipient : text);
    const mapped = when(rewritten, (address) => addresses.canonical(message, address, "envelope_recipient"));
    return when(mapped, (cleaned) => this.noteUtf8(message, cleaned));
  }

  private noteUtf8(message: Message, cleaned: string): string {
    const { settings } = this.addresses;
    if (settings.smtputf8 && message.has("smtputf8Autodetect") && !isAscii(cleaned) && isValidUtf8(cleaned))
      message.sendOptions |= SENDOPT.smtputf8Requested;
    return cleaned;
  }

  private dsnOriginal(message: Message, address: string): string {
    if (address === "") return "";
    const utf8 = !isAscii(address) && (message.sendOptions & SENDOPT.smtputf8Requested) !== 0;
    return `${utf8 ? "utf-8" : "rfc822"};${address}`;
  }

  private async copies(
    message: Message,
    tables: AddressTables,
    title: string,
    address: string,
  ): Promise<void> {
    if (tables.empty) return;
    const result = await lookupAddress(tables, address, this.addresses.settings.rules, "both");
    if (result.kind === "error") {
      message.warn(`${title} ${PROBLEM}`);
      message.fail("WRITE");
    } else if (result.kind === "found") await this.automatic(message, result.value);
  }

  /** Expands aliases and writes what was not written before. */
  private output(message: Message, recipient: RecipientEntry): Promise<void> | undefined {
    const expanded = this.addresses.expand(message, recipient.address);
    if (expanded === undefined) return this.write(message, recipient, [recipient.address]);
    return expanded instanceof Promise
      ? expanded.then((results) => this.outputExpanded(message, recipient, results))
      : this.outputExpanded(message, recipient, expanded);
  }

  private outputExpanded(
    message: Message,
    recipient: RecipientEntry,
    results: ReadonlyArray<string>,
  ): Promise<void> | undefined {
    const [first = recipient.address, second] = results;
    if (second !== undefined && (message.traceFlags & MTA_PROBE) !== 0)
      return this.services.reportMultiple(message, recipient).then(() => message.set("discard"));
    const traced =
      (recipient.notify & NOTIFY.success) !== 0 &&
      (second !== undefined || this.fold(first) !== this.fold(recipient.address));
    return traced ? this.outputTraced(message, recipient, results) : this.write(message, recipient, results);
  }

  /** The sender wants to hear of a success: that an alias was expanded is recorded, and nothing more is said. */
  private async outputTraced(
    message: Message,
    recipient: RecipientEntry,
    results: ReadonlyArray<string>,
  ): Promise<void> {
    if (message.accepts && !(await this.services.traceExpansion(message, recipient))) {
      message.warn("trace service failure");
      message.warn("trace logfile update error");
      message.fail("WRITE");
    }
    message.traced = true;
    const notify = recipient.notify === NOTIFY.success ? NOTIFY.never : recipient.notify & ~NOTIFY.success;
    this.write(message, { ...recipient, notify }, results);
  }

  private write(
    message: Message,
    { original, dsnOriginal, notify }: RecipientEntry,
    addresses: ReadonlyArray<string>,
  ): undefined {
    const { duplicateFilterLimit, originalRecipientInFilter } = this.addresses.settings;
    const { seenRecipients } = message;
    const before = originalRecipientInFilter ? this.fold(`${dsnOriginal}\n${notify}\n${original}\n`) : "";
    for (const address of addresses) {
      const key = before + this.fold(address);
      if (seenRecipients.has(key)) continue;
      if (duplicateFilterLimit === 0 || seenRecipients.size < duplicateFilterLimit) seenRecipients.add(key);
      if (notify !== 0) message.putAttribute("notify_flags", notify);
      if (dsnOriginal !== "") message.putAttribute("dsn_orig_rcpt", dsnOriginal);
      message.put(Rec.ORIGINAL_RECIPIENT, original);
      message.put(Rec.RECIPIENT, address);
      message.recipientCount++;
    }
  }

  private fold(text: string): string {
    return this.addresses.fold(text);
  }
}

const isMailerDaemon = (address: string): boolean => lowerAscii(address.slice(0, 14)) === "mailer-daemon@";
