/** Client of trivial-rewrite(8): rewriting and resolving addresses over kept connections (ipc.md 5.2). */
import { type Configuration, configuration } from "../../config/configuration.ts";
import { warning } from "../../log/log.ts";
import { type Message, receive, send } from "../attributes.ts";
import { PersistentClient } from "../client.ts";
import {
  type ResolveReply,
  ResolveReply as ResolveReplyMessage,
  ResolveRequest,
  RewriteGreeting,
  RewriteReply,
  RewriteRequest,
} from "../protocols/rewrite.ts";

/** `local`: completed with our own domain; `remote`: with remote_header_rewrite_domain. */
export type RewriteRule = "local" | "remote";
export type Resolved = Omit<ResolveReply, "serverFlags">;

/** Answers stay good for so long. */
const CACHE_SECONDS = 30;
const CACHE_ENTRIES = 200;
/** Result flag of a failed lookup: such an answer is not kept. */
const FAIL = 8;

/** Remembers the latest answers, each for a limited time. */
class RecentAnswers<T> {
  readonly #entries = new Map<string, { readonly value: T; readonly expires: number }>();

  get(key: string): T | undefined {
    const entry = this.#entries.get(key);
    return entry !== undefined && performance.now() < entry.expires ? entry.value : undefined;
  }
  set(key: string, value: T): void {
    this.#entries.delete(key);
    const [oldest] = this.#entries.keys();
    if (this.#entries.size >= CACHE_ENTRIES && oldest !== undefined) this.#entries.delete(oldest);
    this.#entries.set(key, { value, expires: performance.now() + CACHE_SECONDS * 1000 });
  }
}

/**
 * What rewriting leaves alone whatever the configuration: plain atoms, an `@`, a domain with a dot inside. Most addresses are
 * like that, and need no request.
 */
const COMPLETE =
  /^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+$/;

/** True when trivial-rewrite would return this external-form address as it is. */
export const needsNoRewriting = (address: string): boolean => COMPLETE.test(address);

export class RewriteClient {
  readonly #connection: PersistentClient;
  readonly #rewritten = new RecentAnswers<string>();
  readonly #resolved = new RecentAnswers<Resolved>();

  constructor(settings: { service: string; timeLimit: number; idleLimit: number; ageLimit: number }) {
    this.#connection = new PersistentClient({
      serviceClass: "private",
      service: settings.service,
      greeting: RewriteGreeting,
      retry: "forever",
      timeLimit: settings.timeLimit,
      idleLimit: settings.idleLimit,
      ageLimit: settings.ageLimit,
    });
  }

  /** Rewrites an external-form address. Tries again until the service answers. */
  async rewrite(rule: RewriteRule, address: string): Promise<string> {
    if (needsNoRewriting(address)) return address;
    const request = address === "" ? '""' : address;
    const key = `${rule}\n${request}`;
    const known = this.#rewritten.get(key);
    if (known !== undefined) return known;
    const reply = await this.#ask(RewriteRequest, { rule, address: request }, RewriteReply, () => undefined);
    this.#rewritten.set(key, reply.address);
    return reply.address;
  }

  /** Resolves an internal-form address. Tries again until the service gives a usable answer. `verify` uses the address_verify_* parameters. */
  async resolve(
    sender: string,
    address: string,
    request: "resolve" | "verify" = "resolve",
  ): Promise<Resolved> {
    const key = `${request}\n${sender}\n${address}`;
    const known = this.#resolved.get(key);
    if (known !== undefined) return known;
    const { transport, nexthop, recipient, flags } = await this.#ask(
      ResolveRequest,
      { request, sender, address },
      ResolveReplyMessage,
      (reply) => resolveFault(address, reply),
    );
    const resolved: Resolved = { transport, nexthop, recipient, flags };
    if ((flags & FAIL) === 0) this.#resolved.set(key, resolved);
    return resolved;
  }

  async #ask<Q, R extends { readonly flags?: number; readonly serverFlags?: number }>(
    request: Message<Q>,
    value: Q,
    reply: Message<R>,
    fault: (answer: R) => string | undefined,
  ): Promise<R> {
    const answer = await this.#connection.exchange(async (channel) => {
      send(channel, request, value);
      await channel.flush();
      const received = await receive(channel, reply);
      if (received.kind !== "value") return undefined;
      const problem = fault(received.value);
      if (problem === undefined) return received.value;
      warning(problem);
      return undefined;
    });
    if (answer === undefined) throw new Error("rewrite client gave up");
    return answer;
  }

  close(): void {
    this.#connection.close();
  }
}

function resolveFault(address: string, reply: ResolveReply): string | undefined {
  if (reply.transport === "") return `resolve_clnt: null transport result for: <${address}>`;
  if (reply.recipient === "" && address !== "")
    return `resolve_clnt: null recipient result for: <${address}>`;
  return undefined;
}

const clients = new WeakMap<Configuration, RewriteClient>();

/** The client of the installed configuration. */
export function rewriteClient(): RewriteClient {
  const current = configuration();
  let client = clients.get(current);
  if (client === undefined) {
    client = new RewriteClient({
      service: current.get("rewrite_service_name"),
      timeLimit: current.get("ipc_timeout"),
      idleLimit: current.get("ipc_idle"),
      ageLimit: current.get("ipc_ttl"),
    });
    clients.set(current, client);
  }
  return client;
}

/** Rewrites an external-form address in the `local` or `remote` context. */
export const rewriteAddress = (rule: RewriteRule, address: string): Promise<string> =>
  rewriteClient().rewrite(rule, address);

/** The transport, next hop and recipient of an internal-form address for an internal-form sender. */
export const resolveAddress = (sender: string, address: string): Promise<Resolved> =>
  rewriteClient().resolve(sender, address);

/** The same with the parameters for address verification probes. */
export const resolveForVerification = (sender: string, address: string): Promise<Resolved> =>
  rewriteClient().resolve(sender, address, "verify");
