/** One question put to the configured name servers: UDP first, TCP for what does not fit, time limits and retries as in the C library. */

import { verbose } from "../log/log.ts";
import { randomInt } from "../sys/random.ts";
import { type DnsMessage, decodeMessage, encodeQuery, type QueryOptions, sameName } from "./message.ts";
import type { NameServer, ResolverConfiguration } from "./resolv_conf.ts";
import { RECORD_TYPES, type RecordType } from "./types.ts";

const Rcode = {
  NoError: 0,
  FormatError: 1,
  ServerFailure: 2,
  NameError: 3,
  NotImplemented: 4,
  Refused: 5,
} as const;

export type Exchange =
  | { readonly kind: "answer"; readonly message: DnsMessage }
  /** No server gave a usable answer. */
  | { readonly kind: "retry" }
  /** A server understood the question and calls it wrong. */
  | { readonly kind: "fail" };

type Sender = (
  server: NameServer,
  query: Buffer,
  milliseconds: number,
  accept: Accept,
) => Promise<DnsMessage | undefined>;
/** Says whether a packet is the answer to our question. */
type Accept = (packet: Buffer) => DnsMessage | undefined;

/** Sends from a fresh port and waits for the matching answer; undefined after the time limit or when nobody listens. */
const askUdp: Sender = async (server, query, milliseconds, accept) => {
  // loaded with the first question: most starts ask none
  const { createSocket } = await import("node:dgram");
  return new Promise((resolve) => {
    const socket = createSocket(server.address.includes(":") ? "udp6" : "udp4");
    let done = false;
    const finish = (message: DnsMessage | undefined): void => {
      if (done) return;
      done = true;
      clearTimeout(timer);
      socket.close();
      resolve(message);
    };
    const timer = setTimeout(() => finish(undefined), milliseconds);
    socket.on("error", (error) => {
      verbose(() => `dns: ${server.address}: ${error.message}`);
      finish(undefined);
    });
    socket.on("message", (packet) => {
      const message = done ? undefined : accept(packet);
      if (message !== undefined) finish(message);
    });
    // A connected socket gets datagrams of this server only, and learns of a closed port.
    socket.connect(server.port, server.address, () => {
      if (!done) socket.send(query);
    });
  });
};

const askTcp: Sender = async (server, query, milliseconds, accept) => {
  const { connect } = await import("node:net");
  return new Promise((resolve) => {
    const socket = connect({ host: server.address, port: server.port });
    let received: Buffer = Buffer.alloc(0);
    let done = false;
    const finish = (message: DnsMessage | undefined): void => {
      if (done) return;
      done = true;
      clearTimeout(timer);
      socket.destroy();
      resolve(message);
    };
    const timer = setTimeout(() => finish(undefined), milliseconds);
    const prefix = Buffer.alloc(2);
    prefix.writeUInt16BE(query.length);
    socket.on("connect", () => socket.write(Buffer.concat([prefix, query])));
    socket.on("error", () => finish(undefined));
    socket.on("close", () => finish(undefined));
    socket.on("data", (chunk: Buffer) => {
      if (done) return;
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
      if (received.length < 2) return;
      const size = received.readUInt16BE(0);
      if (received.length >= 2 + size) finish(accept(received.subarray(2, 2 + size)));
    });
  });
};

/** Seconds to wait for server `index` in attempt `attempt`: doubled each time, shared between the servers (resolver(3)). */
const waitSeconds = (configuration: ResolverConfiguration, attempt: number): number =>
  Math.max(
    1,
    Math.floor((configuration.timeout * 2 ** attempt) / (attempt > 0 ? configuration.servers.length : 1)),
  );

let rotation = 0;
function serverOrder(configuration: ResolverConfiguration): ReadonlyArray<NameServer> {
  const { servers } = configuration;
  if (!configuration.rotate || servers.length < 2) return servers;
  const first = rotation++ % servers.length;
  return [...servers.slice(first), ...servers.slice(0, first)];
}

/** Asks one server; when it does not know EDNS, again without. */
async function askServer(
  server: NameServer,
  name: string,
  type: RecordType,
  dnssec: boolean,
  useTcp: boolean,
  milliseconds: number,
): Promise<DnsMessage | undefined> {
  const ask = async (send: Sender, options: QueryOptions): Promise<DnsMessage | undefined> => {
    const id = randomInt(0x10000);
    const accept: Accept = (packet) => {
      const message = decodeMessage(packet);
      if (message === undefined || message.id !== id) return undefined;
      const { question } = message;
      // A server that cannot read the question may leave it out of its error message.
      if (question === undefined) return message.rcode !== Rcode.NoError ? message : undefined;
      return question.type === RECORD_TYPES[type] && sameName(question.name, name) ? message : undefined;
    };
    return send(server, encodeQuery(id, name, type, options), milliseconds, accept);
  };
  let options: QueryOptions = { edns: true, dnssec };
  let message = useTcp ? undefined : await ask(askUdp, options);
  if (
    message !== undefined &&
    (message.rcode === Rcode.FormatError || message.rcode === Rcode.NotImplemented)
  ) {
    options = { edns: false, dnssec: false };
    message = await ask(askUdp, options);
  }
  if (useTcp || message?.truncated === true) return ask(askTcp, options);
  return message;
}

/** Puts the question to the servers in turn until one has a definite answer. */
export async function exchange(
  name: string,
  type: RecordType,
  dnssec: boolean,
  configuration: ResolverConfiguration,
): Promise<Exchange> {
  const servers = serverOrder(configuration);
  for (let attempt = 0; attempt < configuration.attempts; attempt++) {
    for (const server of servers) {
      const milliseconds = waitSeconds(configuration, attempt) * 1000;
      const message = await askServer(server, name, type, dnssec, configuration.useTcp, milliseconds);
      if (message === undefined) continue;
      switch (message.rcode) {
        case Rcode.NoError:
        case Rcode.NameError:
          return { kind: "answer", message };
        case Rcode.FormatError:
          return { kind: "fail" };
      }
    }
  }
  return { kind: "retry" };
}

export const isNameError = (message: DnsMessage): boolean => message.rcode === Rcode.NameError;
