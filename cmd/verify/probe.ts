/** Address probes: messages without content that delivery agents carry as far as they can see whether the recipient exists. */
import { probeSender } from "../../lib/address/probe_sender.ts";
import { postMail } from "../../lib/ipc/clients/cleanup.ts";
import { rewriteAddress } from "../../lib/ipc/clients/rewrite.ts";
import { DELIVERY_FLAG } from "../../lib/ipc/protocols/delivery.ts";
import { warning } from "../../lib/log/log.ts";
import { errorText } from "../../lib/sys/errno.ts";

/** Probes that are handed to cleanup(8) at the same time. */
const CONCURRENCY = 50;

let active = 0;
const waiting: Array<() => void> = [];

/** Sends a probe; a failure leaves the address to the next query after the probe's time. */
export async function sendProbe(address: string): Promise<void> {
  if (active >= CONCURRENCY) await new Promise<void>((resolve) => waiting.push(resolve));
  active++;
  try {
    const sender = probeSender();
    const mail = await postMail({
      sender: sender === "" ? "" : await rewriteAddress("local", sender),
      recipient: address,
      class: "verify",
      traceFlags: DELIVERY_FLAG.mtaVerify,
      sendopts: 0,
    });
    const { status } = await mail.finish();
    if (status !== 0) warning(`probe for <${address}> was not accepted by cleanup: status ${status}`);
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) throw error;
    warning(`probe for <${address}>: ${errorText(error)}`);
  } finally {
    active--;
    waiting.shift()?.();
  }
}
