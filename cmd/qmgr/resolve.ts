/** Asking trivial-rewrite(8) where recipients go: many questions at once (queue.md 21). */
import { DELIVERY_FLAG } from "../../lib/ipc/protocols/delivery.ts";
import type { Resolution } from "./bind.ts";
import type { Message } from "./message.ts";
import { domainOf, type Recipient } from "./recipient.ts";
import type { Settings } from "./settings.ts";

export interface RewriteService {
  /** `probe`: by the address_verify_* parameters. */
  resolve(sender: string, address: string, probe: boolean): Resolution | Promise<Resolution>;
  /** An address in canonical form, internal to internal. */
  canonicalize(address: string): Promise<string>;
}

/** The content filter's `transport:nexthop` for one recipient. */
export function filterResolution(settings: Settings, filter: string, recipient: Recipient): Resolution {
  const colon = filter.indexOf(":");
  const transport = colon < 0 ? filter : filter.slice(0, colon);
  let nexthop = colon < 0 ? "" : filter.slice(colon + 1);
  if (nexthop === "") nexthop = settings.filterNexthop;
  if (nexthop === "") nexthop = domainOf(recipient.address) ?? settings.myhostname;
  return { transport, nexthop, recipient: recipient.address, flags: 0 };
}

export interface ResolvedRecipient {
  readonly recipient: Recipient;
  readonly resolution: Resolution;
}

/** Resolves recipients, in their order. Not a promise when all answers are known. */
export function resolveRecipients(
  settings: Settings,
  resolver: RewriteService,
  message: Message,
  recipients: ReadonlyArray<Recipient>,
): ResolvedRecipient[] | Promise<ResolvedRecipient[]> {
  const probe = (message.traceFlags & DELIVERY_FLAG.mtaVerify) !== 0;
  const sender = message.senderText;
  const first = recipients[0];
  if (message.redirect !== "" && first !== undefined) return redirect(resolver, message, first, probe);
  if (message.filter !== "" && !message.isProbe)
    return recipients.map((recipient) => ({
      recipient,
      resolution: filterResolution(settings, message.filter, recipient),
    }));
  const answers = recipients.map((recipient) => resolver.resolve(sender, recipient.address, probe));
  const pair = (resolutions: ReadonlyArray<Resolution>): ResolvedRecipient[] =>
    recipients.flatMap((recipient, index) => {
      const resolution = resolutions[index];
      return resolution === undefined ? [] : [{ recipient, resolution }];
    });
  return answers.some((answer) => answer instanceof Promise)
    ? Promise.all(answers).then(pair)
    : pair(answers as Resolution[]);
}

/** All recipients are replaced by one address; the rest of the file is not read. */
async function redirect(
  resolver: RewriteService,
  message: Message,
  recipient: Recipient,
  probe: boolean,
): Promise<ResolvedRecipient[]> {
  message.recipientOffset = 0;
  message.recipientUnread = 0;
  recipient.address = await resolver.canonicalize(message.redirect);
  return [{ recipient, resolution: await resolver.resolve(message.senderText, recipient.address, probe) }];
}
