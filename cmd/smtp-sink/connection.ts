/** One session: smtp-server's parser and stream of content, with the replies that Postfix's smtp-sink gives (tools.md 13.2). */

import type { Socket } from "node:net";
import { SMTPConnection } from "smtp-server/lib/smtp-connection.js";
import { verbose, warning } from "../../lib/log/log.ts";
import { fromBytes, lowerAscii, toBytes, trimSpace } from "../../lib/sys/bytes.ts";
import { after } from "../../lib/sys/timers.ts";
import { type CommandName, isCommand, waitFor } from "./commands.ts";
import { Dump } from "./dump.ts";
import type { Feature, Settings } from "./options.ts";
import type { Sink } from "./sink.ts";

/** What the client has said so far. */
type State = "idle" | "mail" | "rcpt";

/** The lines of EHLO, in order; an empty one ends them. */
const KEYWORDS: ReadonlyArray<readonly [Feature, string]> = [
  ["pipelining", "PIPELINING"],
  ["8bitmime", "8BITMIME"],
  ["auth", "AUTH PLAIN LOGIN"],
  ["xclient", "XCLIENT NAME HELO"],
  ["xforward", "XFORWARD NAME ADDR PROTO HELO"],
  ["enhanced", "ENHANCEDSTATUSCODES"],
  ["dsn", "DSN"],
];

/** Of what follows the verb. */
const LOGGED_LENGTH = 100;

export class SinkConnection extends SMTPConnection {
  readonly #sink: Sink;
  readonly #settings: Settings;
  #state: State = "idle";
  #helo: string | undefined;
  #esmtp = false;
  #mail = "";
  #recipients: string[] = [];
  #dump: Dump | undefined;

  constructor(sink: Sink, socket: Socket) {
    super(sink.server, socket);
    this.#sink = sink;
    this.#settings = sink.settings;
  }

  /** Greets at once: a test of speed must not wait for clients that talk too soon. */
  override init(): void {
    this._setListeners(() => {
      this._ready = true;
      this.#take("connect", "", () => undefined);
    });
  }

  override _onCommand(line: Buffer | false, callback?: () => void): void {
    // a line without an end, from a client that has gone
    if (line === false || callback === undefined) return;
    const text = trimSpace(fromBytes(line));
    const blank = text.search(/[ \t]/);
    const word = blank < 0 ? text : text.slice(0, blank);
    const argument = blank < 0 ? "" : trimSpace(text.slice(blank));
    const name = lowerAscii(word);
    verbose(() => text);
    if (isCommand(name) && this.#isKnown(name)) {
      const rest = fromBytes(line)
        .replace(/^[ \t]+/, "")
        .slice(word.length + 1, word.length + 1 + LOGGED_LENGTH);
      this.#take(name, argument, callback, undefined, `${word} ${rest}`);
    } else this.#reply(`500 5.5.${text === "" ? 2 : 1} Error: unknown command`, callback);
  }

  #isKnown(name: CommandName): boolean {
    const { off, lmtp } = this.#settings;
    switch (name) {
      case "connect":
        return false;
      case "helo":
        return !lmtp;
      case "ehlo":
        return !lmtp && !off.has("esmtp");
      case "lhlo":
        return lmtp;
      case "xclient":
      case "xforward":
        return !off.has(name);
      default:
        return true;
    }
  }

  /** Everything that an option may do to a command, then the command. */
  #take(
    name: CommandName,
    argument: string,
    next: () => void,
    perform = (): void => this.#perform(name, argument, next),
    /** For the log: the verb as the client wrote it, and what follows. */
    shown = `${name} `,
  ): void {
    const behaviour = this.#settings.behaviours.of(name);
    if (behaviour.logged === true) this.#sink.logCommand(shown);
    const wait = waitFor(behaviour);
    const act = (): void => {
      if (behaviour.disconnect !== undefined) {
        if (behaviour.disconnect === "421") this.#write("421 4.0.0 Server closing connection");
        this.close();
      } else if (behaviour.refusal !== undefined) {
        if (name === ".") this.#reset();
        this.#reply(behaviour.refusal === "hard" ? this.#settings.hardReply : this.#settings.softReply, next);
      } else perform();
    };
    if (wait === 0) act();
    else after(wait, () => this._closed || act());
  }

  #perform(name: CommandName, argument: string, next: () => void): void {
    if (name === "data" && this.#state === "rcpt") this.#content(next);
    else if (name === "quit") {
      this.#write("221 Bye");
      this.#sink.quit();
      this.close();
    } else this.#reply(this.#answer(name, argument), next);
  }

  #answer(name: Exclude<CommandName, "quit">, argument: string): string {
    switch (name) {
      case "connect":
        return this.#greeting();
      case "helo":
      case "ehlo":
      case "lhlo":
        return this.#hello(name, argument);
      case "mail":
        if (this.#state !== "idle") return "503 5.5.1 Error: nested MAIL command";
        this.#state = "mail";
        this.#mail = afterColon(argument);
        return "250 2.1.0 Ok";
      case "rcpt":
        if (this.#state === "idle") return "503 5.5.1 Error: need MAIL command";
        this.#state = "rcpt";
        this.#recipients.push(afterColon(argument));
        return "250 2.1.5 Ok";
      case "data":
        return "503 5.5.1 Error: need RCPT command";
      case ".":
      case "noop":
      case "vrfy":
      case "auth":
      case "xclient":
      case "xforward":
        return "250 2.0.0 Ok";
      case "rset":
        this.#reset();
        return "250 2.1.0 Ok";
    }
  }

  #greeting(): string {
    const { pix, hostName, off } = this.#settings;
    if (pix) return "220 ********";
    return `220 ${hostName}${off.has("esmtp") ? "" : " ESMTP"}`;
  }

  #hello(name: "helo" | "ehlo" | "lhlo", argument: string): string {
    const { hostName, off } = this.#settings;
    this.#reset();
    this.#helo = argument;
    this.#esmtp = name !== "helo";
    if (name === "helo") return `250 ${hostName}`;
    const keywords = KEYWORDS.filter(([feature]) => !off.has(feature)).map(([, keyword]) => `250-${keyword}`);
    return [`250-${hostName}`, ...keywords, "250 "].join("\r\n");
  }

  #content(next: () => void): void {
    const { abortDelay, readDelay, dump } = this.#settings;
    this.#write("354 End data with <CR><LF>.<CR><LF>");
    if (abortDelay !== undefined) {
      after(abortDelay, () => {
        if (this._closed) return;
        this.#write("550 This violates SMTP");
        this.close();
      });
      return;
    }
    if (this._parser === false) return;
    const parser = this._parser;
    const stream = parser.startDataMode();
    // the engine waits for the end of a stream that it knows
    this._dataStream = stream;
    if (dump !== undefined) this.#dump = this.#newDump(dump);
    stream.on("data", (chunk: Buffer) => this.#dump?.content(chunk));
    stream.on("end", () => {
      this._dataStream = false;
      this.#dump?.end();
      this.#dump = undefined;
      const proceed = (): void => parser.continue();
      this.#take(".", "", proceed, () => this.#accept(proceed));
    });
    if (readDelay === 0) next();
    else after(readDelay, next);
  }

  #newDump(settings: NonNullable<Settings["dump"]>): Dump {
    return new Dump(this.#settings, settings, {
      clientAddress: this.remoteAddress === "" ? "unix" : this.remoteAddress,
      protocol: this.#settings.lmtp ? "LMTP" : this.#esmtp ? "ESMTP" : "SMTP",
      helo: this.#helo,
      mail: this.#mail,
      recipients: this.#recipients,
    });
  }

  /** The reply to the end of the content: in LMTP one for each recipient. */
  #accept(next: () => void): void {
    const replies = this.#settings.lmtp ? this.#recipients.map(() => "250 2.2.0 Ok") : ["250 2.0.0 Ok"];
    this.#reset();
    this.#reply(replies.join("\r\n"), next);
    if (this.#sink.message()) this._socket.end(() => process.exit(0));
  }

  #reset(): void {
    this.#state = "idle";
    this.#mail = "";
    this.#recipients = [];
  }

  #reply(text: string, next: () => void): void {
    this.#write(text);
    // a client that sends without reading replies must wait
    this._whenWritable(next);
  }

  #write(text: string): void {
    if (!this._socket.destroyed && this._socket.writable) this._socket.write(toBytes(`${text}\r\n`));
  }

  /** What the engine itself would say: a line that is too long. */
  override send(_code: number, data?: string | string[] | null): void {
    warning(lowerFirst(String(data).replace(/^Error: /, "")));
    this._socket.destroy();
  }

  override _onTimeout(): void {
    if (!this._closing) warning("read timeout");
    this._socket.destroy();
  }

  override _onError(): void {
    // the client is gone; there is nobody to tell
    this.close();
  }

  override _onClose(): void {
    if (!this._closed) {
      this.#dump?.abandon();
      this.#dump = undefined;
      verbose(() => "disconnect");
      this.#sink.closed();
    }
    super._onClose();
  }
}

const lowerFirst = (text: string): string => lowerAscii(text.charAt(0)) + text.slice(1);

/** The argument of MAIL or RCPT: what follows `FROM:` or `TO:`. */
function afterColon(argument: string): string {
  const colon = argument.indexOf(":");
  return colon < 0 ? "" : trimSpace(argument.slice(colon + 1));
}
