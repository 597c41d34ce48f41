/** Tells pickup that a file is in maildrop. The mail is safe without it: pickup looks by itself every minute. */

import { parameter } from "../config/configuration.ts";
import { trigger } from "../ipc/trigger.ts";
import { warning } from "../log/log.ts";
import { errorCode, errorText } from "../sys/errno.ts";
import { lstatSync } from "../sys/fs.ts";
import { connectUnix } from "../sys/sockets.ts";

const TRIGGER_SECONDS = 1;

export async function notifyPickup(): Promise<void> {
  const service = parameter("pickup_service_name");
  const path = `public/${service}`;
  try {
    if (lstatSync(path).isFIFO()) {
      await trigger("public", service, "W", TRIGGER_SECONDS);
      return;
    }
  } catch (error) {
    // with a world-writable maildrop submitters cannot reach the socket; our pickup watches the directory then
    if (!(parameter("maildrop_world_writable") && errorCode(error) === "EACCES"))
      warning(`unable to look up ${path}: ${errorText(error)}`);
    return;
  }
  try {
    const channel = await connectUnix(path, path, TRIGGER_SECONDS);
    channel.write("W\0");
    await channel.flush();
  } catch (error) {
    // the mail system is down: no news to the submitter
    if (errorCode(error) === undefined) throw error;
  }
}
