/** A policy server as a restriction list names it, and the connections kept to it (smtpd.md 21). */

import { configuration } from "../../lib/config/configuration.ts";
import { LIST_SEPARATORS, splitBraced, unwrapBraces } from "../../lib/config/lists.ts";
import { parameterRow } from "../../lib/config/parameter_rows.ts";
import type { ParameterName } from "../../lib/config/parameters.ts";
import { readValue } from "../../lib/config/values.ts";
import { type Endpoint, parseEndpoint } from "../../lib/dns/endpoint.ts";
import { receive, send } from "../../lib/ipc/attributes.ts";
import { type PolicyAttributes, PolicyReply, PolicyRequest } from "../../lib/ipc/protocols/policy.ts";
import { fatal, warning } from "../../lib/log/log.ts";
import { trimSpace } from "../../lib/sys/bytes.ts";
import { type Channel, ChannelTimeout } from "../../lib/sys/channel.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import { after, type Timer } from "../../lib/sys/timers.ts";
import type { SessionServices } from "./services.ts";

interface Rules {
  /** Seconds for connecting and for each read and write. */
  readonly timeout: number;
  readonly max_idle: number;
  readonly max_ttl: number;
  readonly request_limit: number;
  readonly try_limit: number;
  readonly retry_delay: number;
  readonly default_action: string;
  readonly policy_context: string;
}

const NAMES: ReadonlyArray<keyof Rules> = [
  "timeout",
  "max_idle",
  "max_ttl",
  "request_limit",
  "try_limit",
  "retry_delay",
  "default_action",
  "policy_context",
];

const parameterOf = (name: keyof Rules): ParameterName => `smtpd_policy_service_${name}`;

/** Rules of one server: `name=value` texts before the parameters of the same name. */
function readRules(options: ReadonlyMap<string, string>): Rules {
  const current = configuration();
  const rules: Record<string, unknown> = {};
  for (const name of NAMES) {
    const given = options.get(name);
    if (given === undefined) {
      rules[name] = current.get(parameterOf(name));
      continue;
    }
    const [kind, , min, max, unit] = parameterRow(parameterOf(name));
    const value = readValue(name, given, { kind, min, max, unit });
    if (!value.ok) fatal(value.problem.replace(/^parameter /, ""));
    rules[name] = value.value;
  }
  return rules as unknown as Rules;
}

/** Reads the argument of check_policy_service: a server, or `{ server, name=value, ... }`. What is wrong with it is fatal. */
export function parsePolicyService(argument: string): PolicyService {
  const options = new Map<string, string>();
  let server = argument;
  if (argument.startsWith("{")) {
    const inner = unwrapBraces(argument);
    if (!inner.ok) return fatal(inner.problem);
    const [first, ...rest] = splitBraced(inner.text, LIST_SEPARATORS);
    if (first === undefined) return fatal(`empty policy service: "${argument}"`);
    server = first;
    for (const text of rest) {
      const [name, value] = readOption(text);
      if (!NAMES.some((known) => known === name)) fatal(`unknown option: "${name} = ${value}"`);
      options.set(name, value);
    }
  }
  const endpoint = parseEndpoint(server);
  if (endpoint === undefined)
    return fatal(
      server.includes(":")
        ? `invalid transport name: ${server.split(":", 1)[0]} in service: ${server}`
        : `need service transport:endpoint instead of "${server}"`,
    );
  return new PolicyService(argument, endpoint, readRules(options));
}

function readOption(text: string): readonly [string, string] {
  const inner = text.startsWith("{") ? unwrapBraces(text) : { ok: true as const, text };
  if (!inner.ok) return fatal(inner.problem);
  const equals = inner.text.indexOf("=");
  if (equals < 0) return fatal(`malformed option: missing '=' after attribute name: "...${inner.text}..."`);
  return [trimSpace(inner.text.slice(0, equals)), trimSpace(inner.text.slice(equals + 1))];
}

interface Kept {
  readonly channel: Channel;
  readonly opened: number;
  used: number;
  requests: number;
}

/** Connections kept without work; one that is not needed any more is closed. */
const IDLE_LIMIT = 50;
/** A server that closes a kept connection, or is just being started, is worth no line in the log before the last attempt. */
const SILENT = new Set<string | undefined>(["EPIPE", "ENOENT", "ECONNRESET", "none"]);

export class PolicyService {
  private idle: Kept[] = [];
  private sweeper: Timer | undefined;

  constructor(
    /** The argument as it was written: how messages about its answers call it. */
    readonly name: string,
    private readonly endpoint: Endpoint,
    readonly rules: Rules,
  ) {}

  /** The server's action; undefined when it gave none (logged). */
  async ask(
    services: Pick<SessionServices, "connect" | "sleep">,
    request: PolicyAttributes,
  ): Promise<string | undefined> {
    const { try_limit, retry_delay } = this.rules;
    for (let attempt = 1; ; attempt++) {
      const answer = await this.attempt(services, request);
      if (answer.action !== undefined) return answer.action;
      const last = attempt >= try_limit;
      if (last || !SILENT.has(answer.code))
        warning(`problem talking to server ${this.endpoint.name}: ${answer.problem}`);
      if (last) return undefined;
      await services.sleep(retry_delay);
    }
  }

  private async attempt(
    services: Pick<SessionServices, "connect">,
    request: PolicyAttributes,
  ): Promise<
    | { readonly action: string }
    | { readonly action: undefined; readonly problem: string; readonly code: string }
  > {
    const failed = (problem: string, code: string) => ({ action: undefined, problem, code });
    let kept: Kept;
    try {
      kept = this.take() ?? (await this.open(services));
    } catch (error) {
      const text = errorText(error);
      warning(`connect to ${this.endpoint.name}: ${text}`);
      return failed(text, errorCode(error) ?? "");
    }
    const { channel } = kept;
    try {
      send(channel, PolicyRequest, request, "plain");
      await channel.flush();
      // a server that says nothing is worth one line, not two
      if (!channel.readable) await channel.more();
      const reply = await receive(channel, PolicyReply, { encoding: "plain", skipExtra: true });
      if (reply.kind === "value") {
        this.give(kept);
        return reply.value;
      }
      channel.destroy();
      return reply.kind === "bad" && reply.late
        ? failed("Connection timed out", "ETIMEDOUT")
        : failed("Application error", "none");
    } catch (error) {
      channel.destroy();
      if (error instanceof TypeError || error instanceof RangeError) throw error;
      return error instanceof ChannelTimeout
        ? failed("Connection timed out", "ETIMEDOUT")
        : failed(errorText(error), errorCode(error) ?? "");
    }
  }

  private async open(services: Pick<SessionServices, "connect">): Promise<Kept> {
    const channel = await services.connect(this.endpoint, this.rules.timeout);
    const now = performance.now();
    return { channel, opened: now, used: now, requests: 0 };
  }

  /** A kept connection that is still good. */
  private take(): Kept | undefined {
    const { max_idle, max_ttl } = this.rules;
    const now = performance.now();
    for (let kept = this.idle.pop(); kept !== undefined; kept = this.idle.pop()) {
      const old = now - kept.used > max_idle * 1000 || now - kept.opened > max_ttl * 1000;
      if (!old && !kept.channel.readable && !kept.channel.closed) return kept;
      kept.channel.destroy();
    }
    return undefined;
  }

  private give(kept: Kept): void {
    const { request_limit } = this.rules;
    kept.used = performance.now();
    kept.requests++;
    if ((request_limit > 0 && kept.requests >= request_limit) || this.idle.length >= IDLE_LIMIT) {
      kept.channel.destroy();
      return;
    }
    this.idle.push(kept);
    this.sweepLater();
  }

  private sweepLater(): void {
    if (this.sweeper !== undefined || this.idle.length === 0) return;
    this.sweeper = after(
      this.rules.max_idle,
      () => {
        this.sweeper = undefined;
        this.dropIdle();
        this.sweepLater();
      },
      { background: true },
    );
  }

  private dropIdle(): void {
    const limit = performance.now() - this.rules.max_idle * 1000;
    const old = this.idle.filter(({ used }) => used <= limit);
    this.idle = this.idle.filter(({ used }) => used > limit);
    for (const { channel } of old) channel.destroy();
  }
}
