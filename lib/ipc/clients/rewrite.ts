/** Client of trivial-rewrite(8): rewriting and resolving addresses over kept connections (ipc.md 5.2). */
import { type Configuration, configuration } from "../../config/configuration.ts";
import { warning } from "../../log/log.ts";
import type { Soon } from "../../sys/when.ts";
import { type Message, receive, send } from "../attributes.ts";
import { PersistentClient } from "../client.ts";
import {
  type Resolved,
  type ResolveReply,
  ResolveReply as ResolveReplyMessage,
  ResolveRequest,
  RewriteGreeting,
  RewriteReply,
  RewriteRequest,
} from "../protocols/rewrite.ts";
import { RecentAnswers, ResolveCache, type ResolveRequestName } from "./resolve_cache.ts";

export type { Resolved } from "../protocols/rewrite.ts";

/** `local`: completed with our own domain; `remote`: with remote_header_rewrite_domain. */
export type RewriteRule = "local" | "remote";

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
  readonly #resolved = new ResolveCache((sender, address, request) =>
    this.#resolve(sender, address, request),
  );

  constructor(settings: { service: string; timeLimit: number; idleLimit: number; ageLimit: number }) {
    this.#connection = new PersistentClient({
      serviceClass: "private",
      service: settings.service,
      greeting: RewriteGreeting,
      retry: "forever",
      named: true,
      timeLimit: settings.timeLimit,
      idleLimit: settings.idleLimit,
      ageLimit: settings.ageLimit,
    });
  }

  /** Rewrites an external-form address, at once where the answer is known. Tries again until the service answers. */
  rewrite(rule: RewriteRule, address: string): Soon<string> {
    if (needsNoRewriting(address)) return address;
    const request = address === "" ? '""' : address;
    const key = `${rule}\n${request}`;
    return this.#rewritten.get(key) ?? this.#rewrite(rule, request, key);
  }

  async #rewrite(rule: RewriteRule, address: string, key: string): Promise<string> {
    const reply = await this.#ask(RewriteRequest, { rule, address }, RewriteReply, () => undefined);
    this.#rewritten.set(key, reply.address);
    return reply.address;
  }

  /**
   * Resolves an internal-form address for an internal-form sender, at once where the answer is known. Tries again until the service gives a usable
   * answer. `verify` uses the address_verify_* parameters.
   */
  resolve(sender: string, address: string, request: ResolveRequestName = "resolve"): Soon<Resolved> {
    return this.#resolved.resolve(sender, address, request);
  }

  async #resolve(sender: string, address: string, request: ResolveRequestName): Promise<Resolved> {
    const { transport, nexthop, recipient, flags } = await this.#ask(
      ResolveRequest,
      { request, sender, address },
      ResolveReplyMessage,
      (reply) => resolveFault(address, reply),
    );
    return { transport, nexthop, recipient, flags };
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
export const rewriteAddress = (rule: RewriteRule, address: string): Soon<string> =>
  rewriteClient().rewrite(rule, address);

/** The transport, next hop and recipient of an internal-form address for an internal-form sender. */
export const resolveAddress = (sender: string, address: string): Soon<Resolved> =>
  rewriteClient().resolve(sender, address);

/** The same with the parameters for address verification probes. */
export const resolveForVerification = (sender: string, address: string): Soon<Resolved> =>
  rewriteClient().resolve(sender, address, "verify");
