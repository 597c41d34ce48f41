/** One connection to a server, with what is known of it. */

import { type Channel, ChannelTimeout } from "../sys/channel.ts";
import { errorCode, SysError } from "../sys/errno.ts";
import type { Soon } from "../sys/when.ts";
import { commandLine } from "./client_command.ts";
import { type Features, NO_FEATURES } from "./client_features.ts";
import type { Conversation } from "./client_pipeline.ts";
import { ConnectionLost, type ReplyRules, readReply, type ServerReply } from "./client_reply.ts";
import { logDialogue } from "./debug_peers.ts";

export interface Peer {
  readonly host: string;
  /** Address, or path of a unix-domain socket. */
  readonly address: string;
  /** Undefined for a unix-domain socket. */
  readonly port: number | undefined;
}

/** `host[address]`, the form in reasons. */
export const nameAddress = (peer: Peer): string => `${peer.host}[${peer.address}]`;
/** `host[address]:port`, the form in `relay=` and in warnings. */
export const nameAddressPort = (peer: Peer): string =>
  peer.port === undefined ? nameAddress(peer) : `${nameAddress(peer)}:${peer.port}`;

/** Why a conversation broke off. */
export type Breakdown = "lost" | "timeout" | "data";

/** A table of ours failed, so that the conversation cannot go on; it was logged. */
export class LocalDataError extends Error {}

/** Classifies an error of the connection; undefined for anything else. */
export function breakdown(error: unknown): Breakdown | undefined {
  if (error instanceof LocalDataError) return "data";
  if (error instanceof ChannelTimeout) return "timeout";
  if (error instanceof ConnectionLost) return "lost";
  if (error instanceof SysError) return error.code === "ETIMEDOUT" ? "timeout" : "lost";
  return errorCode(error) === undefined ? undefined : "lost";
}

export interface SessionRules extends Omit<ReplyRules, "peer" | "onLine" | "onJunk" | "filter"> {
  /** smtp_reply_filter. Throws LocalDataError. */
  readonly filter?: ((line: string, session: SmtpSession) => Promise<string>) | undefined;
  /** Keep what is said, for a notice to the postmaster. */
  readonly transcript: boolean;
  /** Added to the verbosity for this session (debug_peer_level). */
  readonly debugLevel?: number;
}

const TRANSCRIPT_LINES = 1000;

export class SmtpSession implements Conversation {
  features: Features = NO_FEATURES;
  /** Deliveries made over this connection before the present one. */
  reuseCount = 0;
  /** Of the message that the session is used for, for log lines. */
  queueId = "";
  /** Milliseconds of performance.now() when the connection was made. */
  created = performance.now();
  /** Lines for the postmaster, ` In:  ` and ` Out: `. */
  readonly transcript: string[] = [];
  /** What is being done, for texts of failures: `sending MAIL FROM`. */
  state = "receiving the initial server greeting";
  /** The connection cannot be used for another command. */
  broken = false;
  /** Kept from an earlier delivery; whether it still answers is not known. */
  unproven = false;
  /** QUIT was sent. */
  quitting = false;
  /** A line that is no reply was ignored. */
  onJunk: ((line: string) => void) | undefined;
  #peer: Peer;
  #rules: ReplyRules;
  readonly #keepTranscript: boolean;
  readonly #debugLevel: number;

  constructor(
    readonly channel: Channel,
    peer: Peer,
    rules: SessionRules,
  ) {
    const { filter } = rules;
    this.#peer = peer;
    this.#keepTranscript = rules.transcript;
    this.#debugLevel = rules.debugLevel ?? 0;
    this.#rules = {
      peer: nameAddressPort(peer),
      lineLimit: rules.lineLimit,
      utf8: rules.utf8,
      filter: filter === undefined ? undefined : (line) => filter(line, this),
      onJunk: (line) => this.onJunk?.(line),
      onLine: (line, replaced) => {
        logDialogue(this.#debugLevel, "<", this.#rules.peer, line);
        this.note(` In:  ${line}`);
        if (replaced !== undefined) this.note(` Replaced-by: ${replaced}`);
      },
    };
  }

  get peer(): Peer {
    return this.#peer;
  }

  /** Another destination knows the same server by another name. */
  rename(host: string): void {
    this.#peer = { ...this.#peer, host };
    this.#rules = { ...this.#rules, peer: nameAddressPort(this.#peer) };
  }

  note(line: string): void {
    if (this.#keepTranscript && this.transcript.length < TRANSCRIPT_LINES) this.transcript.push(line);
  }

  command(line: string): void {
    this.channel.write(`${commandLine(line)}\r\n`);
    logDialogue(this.#debugLevel, ">", this.#rules.peer, line);
    this.note(` Out: ${line}`);
  }

  async flush(seconds: number): Promise<void> {
    this.channel.setDeadline(0);
    await this.send(seconds);
  }

  /** As flush(), under a deadline that was set before. */
  async send(seconds: number): Promise<void> {
    this.channel.timeLimit = seconds;
    await this.channel.flush();
  }

  /** Reads one reply; `seconds` bounds all of its lines together. */
  reply(seconds: number): Soon<ServerReply> {
    this.channel.timeLimit = seconds;
    this.channel.setDeadline(seconds);
    return readReply(this.channel, this.#rules);
  }

  /** Sends a command by itself and reads its reply. */
  async ask(line: string, seconds: number): Promise<ServerReply> {
    this.command(line);
    await this.flush(seconds);
    return this.reply(seconds);
  }

  get ageSeconds(): number {
    return (performance.now() - this.created) / 1000;
  }

  close(): void {
    this.channel.destroy();
  }
}
