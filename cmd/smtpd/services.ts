/** What a session needs of the rest of the mail system and of the machine; tests bring their own. */

import type { Endpoint } from "../../lib/dns/endpoint.ts";
import type { LookupOptions } from "../../lib/dns/resolver.ts";
import type { DnsResult, QueryType } from "../../lib/dns/types.ts";
import type { Channel } from "../../lib/sys/channel.ts";
import type { Client } from "./client.ts";
import type { MessageStream } from "./message_stream.ts";
import type { ArrivalTime } from "./transaction.ts";

/** trivial-rewrite's answer about an address (ipc.md 6.3 has the flags). */
export interface Resolved {
  readonly transport: string;
  readonly nexthop: string;
  readonly recipient: string;
  readonly flags: number;
}

export interface ProbeResult {
  readonly outcome: "deliverable" | "deferred" | "undeliverable" | "in progress";
  readonly reason: string;
}

export interface FreeSpace {
  readonly blockSize: number;
  /** Blocks that ordinary users can have. */
  readonly blocks: number;
}

/** Counts of one client at anvil(8). */
export interface RateClient {
  /** undefined when anvil does not answer. */
  connect(ident: string): Promise<{ count: number; rate: number } | undefined>;
  count(event: "message" | "recipient"): Promise<number | undefined>;
  disconnect(): Promise<void>;
}

export interface SessionServices {
  /** At once where the answer is known. */
  resolve(sender: string, address: string): Resolved | Promise<Resolved>;
  lookup(name: string, type: QueryType, options?: LookupOptions): Promise<DnsResult>;
  /** Connects to a server outside the mail system. Throws SysError. */
  connect(endpoint: Endpoint, seconds: number): Promise<Channel>;
  /** What verify(8) knows of an address; undefined without an answer. */
  verify(address: string): Promise<ProbeResult | undefined>;
  /** A message is about to come: what it will need is started ahead. */
  expectMessage(): void;
  /** Opens a queue file; undefined when the queue does not answer. */
  openMessage(): Promise<MessageStream | undefined>;
  /** A file without a name for a message that waits for its filter: a descriptor. Throws SysError. */
  openSpool(): number;
  /** Asks flush(8) to send what waits for a site: its status, undefined without an answer. */
  flushSite(site: string): Promise<number | undefined>;
  /** Submits a notice of the system itself. */
  sendNotice(notice: {
    readonly sender: string;
    readonly recipient: string;
    readonly lines: readonly string[];
  }): Promise<void>;
  freeSpace(): FreeSpace;
  now(): ArrivalTime;
  sleep(seconds: number): Promise<void>;
  rates(): RateClient;
}

export interface Connection {
  readonly client: Client;
  /** master.cf name of the service, for anvil and its log lines. */
  readonly service: string;
  /** Run by an ordinary user: no access control, mail goes through postdrop(1). */
  readonly standAlone: boolean;
  /** Commands come from standard input: a script has them all ready. */
  readonly piped: boolean;
  /** Who the client is could not be learned from what stands before us. */
  readonly failed: boolean;
  /** Handed over by postscreen(8), which has tested the client already. */
  readonly screened: boolean;
}
