/** One SMTP session: what is known of the client, the state of its dialogue, and what every verb needs. */
import { internalToExternal } from "../../lib/address/quote.ts";
import { usesLegacyDefault } from "../../lib/config/compatibility.ts";
import { configuration } from "../../lib/config/configuration.ts";
import { RESOLVE_FLAG } from "../../lib/ipc/protocols/rewrite.ts";
import { accessDecision, proxyDecision } from "../../lib/log/events/smtpd.ts";
import { info, log, warning } from "../../lib/log/log.ts";
import { localTime } from "../../lib/message/date.ts";
import { parsePath } from "../../lib/smtp/path.ts";
import { isAscii, printable } from "../../lib/sys/bytes.ts";
import type { Channel } from "../../lib/sys/channel.ts";
import { type Soon, when } from "../../lib/sys/when.ts";
import type { MatchList } from "../../lib/tables/match.ts";
import { AccessControl } from "./access/control.ts";
import { Chat } from "./chat.ts";
import type { ChunkTransfer } from "./chunks.ts";
import { type Client, nameAddress, rfcAddress, UNKNOWN } from "./client.ts";
import type { Policy } from "./policy.ts";
import type { Rates } from "./rates.ts";
import type { Connection, SessionServices } from "./services.ts";
import { ERROR_CLASS, type ErrorClass, SessionEnd } from "./session_end.ts";
import { keywordSet } from "./settings.ts";
import type { Transaction } from "./transaction.ts";

/** What XFORWARD said about the original client; dropped after one transaction. */
export interface ForwardedClient {
  /** Anything but the source was said: what was not said then is unknown. */
  identified: boolean;
  name?: string;
  address?: string;
  port?: string;
  helo?: string;
  protocol?: string;
  ident?: string;
  source?: "local" | "remote";
}

export interface CommandCount {
  total: number;
  success: number;
}

type UncertainFeature = "XVERP" | "XCLIENT" | "XFORWARD";

export class Session {
  client: Client;
  /** `name[address]` of the client, for log lines. */
  nameAddress = "";
  protocol: "SMTP" | "ESMTP" = "SMTP";
  /** The command being worked on, for log lines. */
  where = "CONNECT";
  heloName: string | undefined;
  transaction: Transaction | undefined;
  /** A BDAT sequence in progress. */
  chunks: ChunkTransfer | undefined;
  /** SIZE= of the last MAIL command that had one, until the transaction ends. */
  declaredSize = 0;
  /** The reply with which everything but QUIT is refused. */
  denied: string | undefined;
  forwarded: ForwardedClient | undefined;
  /** Client identity given by XCLIENT LOGIN. */
  login: string | undefined;

  /** Counts of this client at anvil(8), where limits apply. */
  rates: Rates | undefined;
  /** Nothing more is read from the client. */
  inputDisabled = false;
  /** XCLIENT changed who the client is: the dialogue begins anew. */
  restart = false;

  /** Commands since the last pause. */
  unbroken = 0;

  errorCount = 0;
  junkCount = 0;
  overshoot = 0;
  errorClasses = 0;
  /** Bytes of content received in the DATA or BDAT command at work, for the line about its end. */
  contentBytes: (() => number) | undefined;
  sawPipelining = false;
  sawBareLf = false;
  /** The client's line ends are watched (smtpd_forbid_bare_newline). */
  detectBareLf = false;
  /** Features of which it is not known whether the client may use them. */
  private uncertain: Set<UncertainFeature> | undefined;
  mayXclient = false;
  mayXforward = false;
  discarded: ReadonlySet<string> = new Set();
  logDiscarded = false;
  /** By the verb's place in the line about the end of the session. */
  readonly counts: (CommandCount | undefined)[] = [];
  private messageNumber = 0;

  readonly chat: Chat;
  readonly access: AccessControl;

  constructor(
    readonly channel: Channel,
    readonly policy: Policy,
    readonly services: SessionServices,
    readonly connection: Connection,
  ) {
    this.client = connection.client;
    this.chat = new Chat(channel, policy, this);
    this.access = new AccessControl(this);
    this.nameClient();
  }

  get settings(): Policy["settings"] {
    return this.policy.settings;
  }

  get standAlone(): boolean {
    return this.connection.standAlone;
  }

  /** Messages go to a filter before they reach the queue. */
  get filtered(): boolean {
    return this.policy.proxyFilter !== undefined && !this.standAlone;
  }
  /** Such messages are gathered first. */
  get spooled(): boolean {
    return this.settings.proxyOptions.has("speed_adjust");
  }

  /** Queue ID of the open message, for log lines. */
  get queueId(): string {
    const stream = this.transaction?.stream;
    return stream?.kind === "queue" ? stream.id : "NOQUEUE";
  }

  /** Makes `nameAddress` anew after the client's identity changed. */
  nameClient(): void {
    const { name, address, port } = this.client;
    this.nameAddress = nameAddress(name, address, port, this.settings.clientPortLogging);
  }

  /** Looks up what depends on who the client is. What XFORWARD may is decided by the real client, not by XCLIENT. */
  identify(first: boolean): Soon<void> {
    const { policy } = this;
    if (this.standAlone) return;
    return when(this.authorized("XCLIENT", policy.xclientHosts), (mayXclient) => {
      this.mayXclient = mayXclient;
      return first
        ? when(this.authorized("XFORWARD", policy.xforwardHosts), (mayXforward) => {
            this.mayXforward = mayXforward;
            return this.chooseLineEnds();
          })
        : this.chooseLineEnds();
    });
  }

  private chooseLineEnds(): Soon<void> {
    const { policy, client } = this;
    if (policy.settings.bareLf === "no") {
      this.detectBareLf = false;
      return;
    }
    return when(policy.bareLfExclusions.matchesSurely(client.name, client.address), (excluded) => {
      this.detectBareLf = !excluded;
    });
  }

  /** Whether a list has the client; a list that cannot be read has nobody, and that is remembered. */
  private authorized(feature: UncertainFeature, list: MatchList): Soon<boolean> {
    return when(list.matches(this.client.name, this.client.address), (match) => {
      if (match.kind === "error") {
        this.uncertain ??= new Set();
        this.uncertain.add(feature);
      } else this.uncertain?.delete(feature);
      return match.kind === "match";
    });
  }

  mayVerp(): Soon<boolean> {
    return this.authorized("XVERP", this.policy.verpClients);
  }

  /** A client that is told of features must not be told wrong: the session ends when a list could not be read. */
  requireCertain(feature: UncertainFeature): void {
    if (this.uncertain?.has(feature) !== true) return;
    warning(`don't know if EHLO feature ${feature} should be announced to ${this.nameAddress}`);
    throw new SessionEnd("data", `421 4.3.0 ${this.settings.myhostname} Server local data error`);
  }

  /** Finds the EHLO keywords that this client is not told. */
  chooseDiscards(): Soon<void> {
    const { discardEhloMaps, settings } = this.policy;
    if (discardEhloMaps.empty) return this.discard(settings.discardEhlo);
    return when(discardEhloMaps.lookup(this.client.address), (result) =>
      this.discard(result.kind === "found" ? keywordSet(result.value) : settings.discardEhlo),
    );
  }

  private discard(words: ReadonlySet<string>): void {
    this.discarded = words;
    this.logDiscarded = words.size > 0 && !words.has("SILENT-DISCARD") && !words.has("ENHANCEDSTATUSCODES");
  }

  reply(text: string): Soon<void> {
    return this.chat.reply(text, this.errorCount);
  }

  /** Answers a command that was successful; gives true, the verb's result. */
  accept(text: string): Soon<true> {
    return when(this.reply(text), () => true);
  }

  /** Answers a command with an error; gives false, the verb's result. */
  async refuse(text: string, errorClass?: ErrorClass): Promise<false> {
    if (errorClass !== undefined) this.noteError(errorClass);
    await this.reply(text);
    return false;
  }

  noteError(errorClass: ErrorClass): void {
    this.errorClasses |= ERROR_CLASS[errorClass];
  }

  /** A message was accepted: earlier errors are forgiven. */
  forgiveErrors(): void {
    this.errorCount = 0;
    this.junkCount = 0;
    this.errorClasses = 0;
  }

  /** The one way out of a transaction: all of its state goes, the queue file too when it was not finished. */
  resetTransaction(): void {
    this.transaction?.stream?.abort();
    this.transaction = undefined;
    this.chunks = undefined;
    this.declaredSize = 0;
    this.contentBytes = undefined;
    this.forwarded = undefined;
  }

  /** The message is in the queue or refused by it: its connection is gone already. */
  endTransaction(): void {
    if (this.transaction !== undefined) this.transaction.stream = undefined;
    this.resetTransaction();
  }

  /** Number of the next message of this session. */
  nextMessageNumber(): number {
    return this.messageNumber++;
  }

  /** Drops what was received and reads no more: the session ends as a lost connection. */
  disableInput(): void {
    warning(`disabling input from ${this.channel.name}`);
    this.channel.consume(this.channel.buffered);
    this.inputDisabled = true;
  }

  /** The internal form of the address in a command; undefined (logged) when it is malformed. */
  parseAddress(
    verb: string,
    token: string,
    options: { allowEmpty: boolean; utf8: boolean; sender: string; strict?: boolean },
  ): Soon<string | undefined> {
    const strict = options.strict ?? this.settings.strictEnvelopes;
    const address = parsePath(token, { strict, allowEmpty: options.allowEmpty });
    return when(address !== undefined && this.resolvable(address, options), (good) => {
      if (good) return address;
      warning(
        `Illegal address syntax from ${this.nameAddress} in ${verb} command: ${printable(token, this.settings.utf8)}`,
      );
      return undefined;
    });
  }

  /** Before compatibility level 1 addresses need not be ASCII, whatever the client asked for; says which were not. */
  noteUtf8(what: "sender" | "recipient", address: string): void {
    if (isAscii(address) || !usesLegacyDefault(configuration(), "smtputf8_enable")) return;
    info(
      `using backwards-compatible default setting smtputf8_enable=no to accept non-ASCII ${what} address "${printable(address, false)}" from ${this.nameAddress}`,
    );
  }

  private resolvable(address: string, options: { utf8: boolean; sender: string }): Soon<boolean> {
    if (address === "") return true;
    if (
      !options.utf8 &&
      !isAscii(address) &&
      !isAscii(address.slice(address.lastIndexOf("@") + 1)) &&
      address.includes("@")
    )
      return false;
    if (this.standAlone) return true;
    return when(
      this.services.resolve(options.sender, address),
      ({ flags }) => (flags & RESOLVE_FLAG.error) === 0,
    );
  }

  /** The form of an address in log lines (info_log_address_format). */
  logAddress(address: string): string {
    return address === "" || this.settings.logInternal ? address : internalToExternal(address);
  }

  /** Logs a decision about the client, with what is known of the message. */
  logDecision(action: string, text: string, recipient?: string, sender?: string): void {
    const { transaction } = this;
    const from = sender ?? transaction?.sender;
    const to = recipient ?? (transaction?.recipientCount === 1 ? transaction.firstRecipient : undefined);
    log(
      accessDecision({
        queueId: this.queueId,
        action,
        where: this.where,
        client: this.nameAddress,
        reply: text.replace(/[\r\n]/g, "?"),
        sender: from === undefined ? undefined : this.logAddress(from),
        recipient: to === undefined ? undefined : this.logAddress(to),
        protocol: this.protocol,
        helo: this.heloName,
        saslMethod: this.login === undefined ? undefined : "XCLIENT",
        saslUsername: this.login,
      }),
    );
  }

  /** Logs what the filter before the queue made of a message. */
  logProxied(accepted: boolean, reply: string): void {
    const { transaction } = this;
    log(
      proxyDecision({
        accepted,
        where: this.where,
        reply: reply.replace(/[\r\n]/g, "?"),
        sender: transaction === undefined ? undefined : this.logAddress(transaction.sender),
        recipient:
          transaction?.firstRecipient === undefined ? undefined : this.logAddress(transaction.firstRecipient),
        protocol: this.protocol,
        helo: this.heloName,
        saslUsername: this.login,
      }),
    );
  }

  /** The queue's connection identity of the original client, as XFORWARD gave it or else our own. */
  get original(): {
    name: string;
    address: string;
    port: string;
    helo: string | undefined;
    protocol: string;
    origin: string;
  } {
    const forwarded = this.forwarded;
    if (forwarded?.identified !== true)
      return {
        name: this.client.name,
        address: rfcAddress(this.client.address),
        port: this.client.port,
        helo: this.heloName,
        protocol: this.protocol,
        origin: this.nameAddress,
      };
    const name = forwarded.name ?? UNKNOWN;
    const address = forwarded.address ?? UNKNOWN;
    const port = forwarded.port ?? UNKNOWN;
    return {
      name,
      address: rfcAddress(address),
      port,
      helo: forwarded.helo,
      protocol: forwarded.protocol ?? UNKNOWN,
      origin:
        name === UNKNOWN && address === UNKNOWN
          ? UNKNOWN
          : nameAddress(name, address, port, this.settings.clientPortLogging),
    };
  }

  /** Macros of reply templates (smtpd_reject_footer, rbl_reply_maps). */
  macro(name: string, recipient?: string): string | undefined {
    const { client } = this;
    switch (name) {
      case "client":
        return this.nameAddress;
      case "client_address":
        return client.address;
      case "client_name":
        return client.name;
      case "client_port":
        return client.port;
      case "reverse_client_name":
        return client.reverseName;
      case "helo_name":
        return this.heloName ?? "";
      case "server_name":
        return this.settings.myhostname;
      case "localtime": {
        const time = localTime(Math.floor(Date.now() / 1000));
        const two = (value: number): string => String(value).padStart(2, "0");
        return `${MONTHS[time.month]} ${String(time.day).padStart(2)} ${two(time.hour)}:${two(time.minute)}:${two(time.second)}`;
      }
      case "sender":
      case "sender_name":
      case "sender_domain":
        return addressPart(name, "sender", this.transaction?.sender);
      case "recipient":
      case "recipient_name":
      case "recipient_domain":
        return addressPart(name, "recipient", recipient ?? this.transaction?.firstRecipient);
      default:
        return undefined;
    }
  }
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

function addressPart(macro: string, whole: string, address: string | undefined): string {
  if (address === undefined) return "";
  if (macro === whole) return address === "" ? "<>" : address;
  if (address === "") return macro.endsWith("_name") ? "<>" : "";
  const at = address.lastIndexOf("@");
  if (at < 0) return macro.endsWith("_name") ? address : "";
  return macro.endsWith("_name") ? address.slice(0, at) : address.slice(at + 1);
}
