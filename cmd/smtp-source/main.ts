/** smtp-source(1): sends messages by SMTP or LMTP, many at a time (tools.md 13.1). It reads no configuration. */
import { command, print } from "../../lib/daemon/command.ts";
import type { Invocation } from "../../lib/daemon/program.ts";
import { addressesOf, type Endpoint, parseEndpoint } from "../../lib/load/endpoint.ts";
import { fatal, warning } from "../../lib/log/log.ts";
import type { Channel } from "../../lib/sys/channel.ts";
import { errorText } from "../../lib/sys/errno.ts";
import { connectInet, connectUnix } from "../../lib/sys/sockets.ts";
import { HELP } from "./help.ts";
import { bodyOf } from "./message.ts";
import { readSettings, type Settings } from "./options.ts";
import { type Load, runSession } from "./session.ts";

export const main = command({
  help: HELP,
  label: ({ argv0 }) => argv0,
  // diagnostics go to standard error alone
  log: { ownFile: true },
  run,
});

/** Seconds for a connection, a command or its reply. */
const TIME_LIMIT = 300;

async function run(invocation: Invocation): Promise<void> {
  const settings = readSettings(invocation);
  const endpoint = parseEndpoint(settings.endpoint, { defaultPort: "smtp" });
  const addresses =
    endpoint.kind === "unix" ? [] : await addressesOf(settings.endpoint, endpoint.host, settings.family);
  let sent = 0;
  const load: Load = {
    settings,
    body: bodyOf(settings),
    connect: () => connect(settings, endpoint, addresses),
    remaining: settings.messages,
    recipients: 0,
    sent: () => {
      sent++;
      if (settings.count) print(`${sent}\r`);
    },
  };
  await Promise.all(Array.from({ length: settings.sessions }, (_, number) => runSession(load, number + 1)));
  if (settings.count) print("\n");
}

/** A connection to the first address that answers; a refusal may be forgiven a few times. */
async function connect(
  settings: Settings,
  endpoint: Endpoint,
  addresses: ReadonlyArray<string>,
): Promise<Channel> {
  for (let attempt = 1; ; attempt++) {
    const outcome = await tryConnect(settings, endpoint, addresses);
    if (typeof outcome !== "string") {
      outcome.timeLimit = TIME_LIMIT;
      return outcome;
    }
    if (attempt >= settings.connectAttempts) fatal(`connect: ${outcome}`);
    warning(`connect: ${outcome}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** The connection, or why there is none. */
async function tryConnect(
  { windowSize }: Settings,
  endpoint: Endpoint,
  addresses: ReadonlyArray<string>,
): Promise<Channel | string> {
  let problem = "";
  const attempts =
    endpoint.kind === "unix"
      ? [() => connectUnix(endpoint.path, "the server", TIME_LIMIT)]
      : addresses.map(
          (address) => () =>
            connectInet(address, endpoint.port, "the server", { seconds: TIME_LIMIT, windowSize }),
        );
  for (const attempt of attempts) {
    try {
      return await attempt();
    } catch (error) {
      problem = errorText(error);
    }
  }
  return problem;
}
