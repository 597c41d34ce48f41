/** Delivery of one request to a command: one process for all of its recipients, who share its outcome (pipe(8)). */

import { extensionRules } from "../../lib/address/split.ts";
import { configuration, parameter } from "../../lib/config/configuration.ts";
import { combine } from "../../lib/delivery/agent.ts";
import { type CommandOutcome, deliverToCommand } from "../../lib/delivery/command.ts";
import type { CopySource } from "../../lib/delivery/copy.ts";
import { deliveredAddresses } from "../../lib/delivery/delivered_headers.ts";
import { type Attempt, type Disposition, failed, sent } from "../../lib/delivery/disposition.ts";
import { exportedEnvironment } from "../../lib/delivery/exported_environment.ts";
import {
  type DeliveryRequest,
  type DeliveryResult,
  markCorrupt,
  markRecipientDone,
} from "../../lib/delivery/request.ts";
import { type Dsn, dsn, isTraceOnly } from "../../lib/delivery/status.ts";
import type { StatusFilter } from "../../lib/delivery/status_filter.ts";
import { warning } from "../../lib/log/log.ts";
import { trimEndSpace } from "../../lib/sys/bytes.ts";
import { foldCase } from "../../lib/tables/casefold.ts";
import type { PipeAttributes } from "./attributes.ts";
import { expandArguments } from "./macros.ts";

export interface PipeService {
  /** Name in master.cf. */
  readonly name: string;
  readonly attributes: PipeAttributes;
  readonly filter: StatusFilter | undefined;
}

const BAD_CONFIGURATION = dsn("4.3.5", "mail system configuration error");
/** Bytes of the command's output that are shown for a delivery. */
const SHOWN_OUTPUT = 100;

/** Delivers, and settles every recipient of the request. */
export async function deliver(request: DeliveryRequest, service: PipeService): Promise<DeliveryResult> {
  const refused = refusal(request, service);
  if (refused !== undefined) return settle(request, service, refused);
  const { attributes } = service;
  const [program = ""] = attributes.argv;
  if (isTraceOnly(request.flags))
    return settle(request, service, dsn("2.0.0", `delivers to command: ${program}`), sent);
  const sender = request.sender === "" ? attributes.nullSender : request.sender;
  const source = sourceOf(request, sender);
  const utf8 = parameter("smtputf8_enable");
  if (attributes.flags.deliveredTo && isLoop(source, utf8))
    return settle(request, service, dsn("5.4.6", `mail forwarding loop for ${source.delivered}`));
  const expansion = expandArguments({ request, attributes, sender, extension: extensionRules(), utf8 });
  if (!expansion.ok) {
    const file = `${parameter("config_directory")}/master.cf`;
    warning(
      expansion.unknown === undefined
        ? expansion.problem
        : `file ${file}: service ${service.name}: unknown macro name: "${expansion.unknown}"`,
    );
    return settle(request, service, BAD_CONFIGURATION);
  }
  const outcome = await run(expansion.argv, source, service);
  switch (outcome.kind) {
    case "ok": {
      const output = trimEndSpace(outcome.output).slice(0, SHOWN_OUTPUT);
      const text = `delivered via ${service.name} service`;
      const action = attributes.flags.finalDelivery ? "delivered" : "relayed";
      const status = dsn("2.0.0", output === "" ? text : `${text} (${output})`, { action });
      return settle(request, service, status, sent);
    }
    case "failed":
      return settle(request, service, outcome.dsn);
    case "corrupt":
      markCorrupt(request, outcome.recordType);
      return { disposition: "retry" };
  }
}

/** A message that this service cannot or does not take. */
function refusal(request: DeliveryRequest, { name, attributes }: PipeService): Dsn | undefined {
  const { flags, sizeLimit } = attributes;
  if (request.recipients.length > 1)
    for (const [letter, set] of [
      ["D", flags.deliveredTo],
      ["O", flags.originalTo],
    ] as const)
      if (set) {
        warning(`pipe flag \`${letter}' requires ${name}_destination_recipient_limit = 1`);
        return BAD_CONFIGURATION;
      }
  if (sizeLimit !== undefined && request.size > sizeLimit) return dsn("5.2.3", "message too large");
  return undefined;
}

function sourceOf(request: DeliveryRequest, sender: string): CopySource {
  const [first] = request.recipients;
  const { fd, path, offset, size } = request;
  return {
    fd,
    path,
    offset,
    size,
    sender,
    originalRecipient: (parameter("enable_original_recipient") ? first?.originalRecipient : undefined) ?? "",
    delivered: first?.recipient ?? "",
  };
}

const isLoop = (source: CopySource, utf8: boolean): boolean =>
  deliveredAddresses(source, utf8).has(foldCase(source.delivered, utf8));

function run(
  argv: ReadonlyArray<string>,
  source: CopySource,
  { name, attributes }: PipeService,
): Promise<CommandOutcome> {
  const { flags, uid, gid, directory, chroot, endOfLine } = attributes;
  const { blankLine, deliveredTo, fromLine, originalTo, returnPath, dotStuff, quoteFrom } = flags;
  return deliverToCommand({
    command: argv,
    uid,
    gid,
    environment: exportedEnvironment(),
    source,
    copy: { blankLine, deliveredTo, fromLine, originalTo, returnPath, dotStuff, quoteFrom, endOfLine },
    timeLimit: configuration().serviceParameter(name, "_time_limit"),
    program: "pipe",
    execComplaint: "pipe_command: ",
    ...(directory === undefined ? {} : { directory }),
    ...(chroot === undefined ? {} : { chroot }),
  });
}

/** All recipients share one outcome. */
async function settle(
  request: DeliveryRequest,
  service: PipeService,
  outcome: Dsn,
  disposition: typeof sent = failed,
): Promise<DeliveryResult> {
  const dispositions: Disposition[] = [];
  for (const recipient of request.recipients) {
    const attempt: Attempt = {
      message: request,
      recipient,
      relay: service.name,
      filter: service.filter,
      markDone: (done) => markRecipientDone(request, done),
    };
    dispositions.push(await disposition(attempt, outcome));
  }
  return { disposition: combine(dispositions) };
}
