/**
 * bounce(8): keeps a log of undeliverable, delayed or traced recipients for each message, and turns it into delivery status notices.
 * It runs under three names, bounce, defer and trace, each with the directory of that name. One request a connection.
 */

import { configuration } from "../../lib/config/configuration.ts";
import type { Service } from "../../lib/daemon/service.ts";
import { type Client, singleServer } from "../../lib/daemon/single.ts";
import { type Message, receive, receiveHead, send } from "../../lib/ipc/attributes.ts";
import {
  BOUNCE_FLAG,
  BOUNCE_REQUEST,
  BounceAppend,
  BounceCommand,
  BounceFlush,
  BounceGreeting,
  BounceOne,
  BounceStatus,
  BounceTrace,
  BounceVerp,
  BounceWarn,
} from "../../lib/ipc/protocols/bounce.ts";
import { fatal, warning } from "../../lib/log/log.ts";
import { fromFormat } from "../../lib/message/from_format.ts";
import type { LogQueue } from "../../lib/queue/directories.ts";
import { isQueueId } from "../../lib/queue/queue_id.ts";
import { printable, toBytes } from "../../lib/sys/bytes.ts";
import type { Channel } from "../../lib/sys/channel.ts";
import { writeSync } from "../../lib/sys/fs.ts";
import {
  append,
  type BounceService,
  bounceService,
  flush,
  flushVerp,
  one,
  removeLog,
  trace,
  warn,
} from "./request.ts";
import { loadTemplates, printExpanded, printTemplates } from "./template.ts";

const services = new WeakMap<Service, BounceService>();

export const main = singleServer({
  profile: { files: "write" },
  processLimit: 0,
  parameters: [
    "bounce_template_file",
    "bounce_size_limit",
    "notify_classes",
    "double_bounce_sender",
    "backwards_bounce_logfile_compatibility",
  ],
  preJail(service) {
    fromFormat();
    if (service.name === "dump_templates" || service.name === "expand_templates") {
      const text = (service.name === "expand_templates" ? printExpanded : printTemplates)(loadTemplates());
      writeSync(1, toBytes(text));
      process.exit(0);
    }
    const own = bounceService(service.name, logQueue(service.name));
    // the template file is outside the jail
    if (configuration().get("bounce_template_file") !== "") own.templates();
    services.set(service, own);
  },
  async serve(client, service) {
    const own = services.get(service);
    if (own !== undefined) await serve(client, own);
  },
});

function logQueue(name: string): LogQueue {
  const current = configuration();
  if (name === current.get("bounce_service_name")) return "bounce";
  if (name === current.get("defer_service_name")) return "defer";
  if (name === current.get("trace_service_name")) return "trace";
  return name === "bounce" || name === "defer" || name === "trace"
    ? name
    : fatal(`unexpected service name: ${name}`);
}

async function serve({ channel }: Client, service: BounceService): Promise<void> {
  send(channel, BounceGreeting, {});
  channel.push();
  const head = await receiveHead(channel, BounceCommand);
  if (head.kind !== "value") warning("malformed request");
  const request = head.kind === "value" ? await carryOut(channel, service, head.value.request) : FAILED;
  send(channel, BounceStatus, { status: request.done ? 0 : -1 });
  try {
    await channel.flush();
  } catch (error) {
    // nobody knows of the entry: a message that was not accepted leaves no log behind
    if (request.clean !== undefined && isQueueId(request.clean)) removeLog(service, request.clean);
    throw error;
  }
}

interface Outcome {
  readonly done: boolean;
  /** The log to be removed when the answer cannot be given. */
  readonly clean: string | undefined;
}

const FAILED: Outcome = { done: false, clean: undefined };

async function carryOut(channel: Channel, service: BounceService, command: number): Promise<Outcome> {
  const serveAs = async <T extends { readonly flags: number; readonly queueId: string }>(
    message: Message<T>,
    work: (request: T) => Promise<boolean>,
  ): Promise<Outcome> => {
    const received = await receive(channel, message);
    if (received.kind !== "value") {
      warning("malformed request");
      return FAILED;
    }
    const request = sanitized(received.value);
    const done = await work(request);
    return { done, clean: (request.flags & BOUNCE_FLAG.clean) !== 0 ? request.queueId : undefined };
  };
  switch (command) {
    case BOUNCE_REQUEST.append:
      return serveAs(BounceAppend, (request) => append(service, request));
    case BOUNCE_REQUEST.flush:
      return serveAs(BounceFlush, (request) => flush(service, request));
    case BOUNCE_REQUEST.warn:
      return serveAs(BounceWarn, (request) => warn(service, request));
    case BOUNCE_REQUEST.verp:
      return serveAs(BounceVerp, (request) => flushVerp(service, request, request.verpDelimiters));
    case BOUNCE_REQUEST.one:
      return serveAs(BounceOne, (request) => one(service, request, request));
    case BOUNCE_REQUEST.trace:
      return serveAs(BounceTrace, (request) => trace(service, request));
    default:
      warning(`unknown command: ${command}`);
      return FAILED;
  }
}

/** Unprintable bytes become `?`: they end up in a text file and in notices. */
function sanitized<T extends object>(request: T): T {
  const utf8 = configuration().get("smtputf8_enable");
  const entries = Object.entries(request).map(([key, value]) => [
    key,
    typeof value === "string" && key !== "queueId" && key !== "queueName" && key !== "verpDelimiters"
      ? printable(value, utf8)
      : value,
  ]);
  return Object.fromEntries(entries) as T;
}
