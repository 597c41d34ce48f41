/** Shows the queue: from the showq service, or when the mail system is down and we are root, from showq run by ourselves. */

import { isOwnInstance } from "../../lib/config/accounts.ts";
import { configuration, parameter } from "../../lib/config/configuration.ts";
import { connectService } from "../../lib/ipc/client.ts";
import { ClientAbort, fatal, logClientAbort, verbosity, warning } from "../../lib/log/log.ts";
import type { Channel } from "../../lib/sys/channel.ts";
import { currentEnvironment } from "../../lib/sys/environment.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import { closeSync, writeSync } from "../../lib/sys/fs.ts";
import { effectiveUid } from "../../lib/sys/identity.ts";
import { adoptSocket, socketPair } from "../../lib/sys/sockets.ts";
import { startProgram } from "../../lib/sys/spawn.ts";
import { jsonFormat } from "./json.ts";
import { printListing } from "./listing.ts";
import { mailqFormat } from "./mailq.ts";

export async function listQueue(json: boolean): Promise<void> {
  const utf8 = parameter("smtputf8_enable");
  const format = json ? jsonFormat(utf8) : mailqFormat(parameter("enable_long_queue_ids"), utf8);
  const channel = await openShowq();
  if (!(await printListing(channel, format, print))) fatal("malformed showq server response");
  channel.destroy();
}

async function openShowq(): Promise<Channel> {
  try {
    return await connectService("public", parameter("showq_service_name"), parameter("ipc_timeout"));
  } catch (error) {
    const why = `Connect to the ${parameter("mail_name")} showq service: ${errorText(error)}`;
    const code = errorCode(error);
    if (code === undefined) throw error;
    if (code === "EACCES" || code === "EPERM") fatal(why);
    if (effectiveUid() !== 0 && !isOwnInstance(configuration()))
      fatal(`Queue report unavailable - mail system is down (${why})`);
    warning(`Mail system is down -- accessing queue directly (${why})`);
    return runShowq();
  }
}

function runShowq(): Promise<Channel> {
  const path = `${parameter("daemon_directory")}/showq`;
  const verbose = Array.from({ length: verbosity() }, () => "-v");
  try {
    const [ours, theirs] = socketPair();
    startProgram({
      path,
      argv: [path, "-u", "-S", ...verbose],
      environment: currentEnvironment(),
      descriptors: ["null", theirs, 2],
    });
    closeSync(theirs);
    return adoptSocket(ours, path);
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    // the words of a child that could not start, and of the program that waits for its output
    logClientAbort(new ClientAbort(`vstream_popen: execvp ${path}: ${errorText(error)}`));
    fatal("malformed showq server response");
  }
}

function print(output: Uint8Array): void {
  let bytes = output;
  while (bytes.length > 0) {
    try {
      bytes = bytes.subarray(writeSync(1, bytes));
    } catch (error) {
      const code = errorCode(error);
      if (code === "EAGAIN") Bun.sleepSync(1);
      else if (code === "EPIPE") process.exit(0);
      else fatal(`output write error: ${errorText(error)}`);
    }
  }
}
