/** smtp-sink(1): takes mail by SMTP or LMTP and throws it away (tools.md 13.2). The engine is the npm package smtp-server. */
import { command } from "../../lib/daemon/command.ts";
import type { Invocation } from "../../lib/daemon/program.ts";
import { addressesOf, parseEndpoint } from "../../lib/load/endpoint.ts";
import { fatal, setLogSinks } from "../../lib/log/log.ts";
import { setupLogging } from "../../lib/log/setup.ts";
import { dropPrivileges } from "../../lib/privsep/identity.ts";
import { printable } from "../../lib/sys/bytes.ts";
import { errorText } from "../../lib/sys/errno.ts";
import { lookupUser, type User } from "../../lib/sys/identity.ts";
import { bindUnix, listenInet } from "../../lib/sys/sockets.ts";
import { loadTimeZone } from "../../lib/sys/strftime.ts";
import { HELP } from "./help.ts";
import { readSettings, type Settings } from "./options.ts";
import { Sink } from "./sink.ts";

export const main = command({
  help: HELP,
  label: ({ argv0 }) => argv0,
  // diagnostics go to standard error alone
  log: { ownFile: true },
  run,
});

async function run(invocation: Invocation): Promise<void> {
  const settings = readSettings(invocation);
  const logCommand = commandLog(invocation);
  const sockets = await listen(settings);
  loadTimeZone();
  becomeUser(settings);
  const sink = new Sink(settings, logCommand);
  for (const fd of sockets) sink.serve(fd);
  // until somebody ends it, or -n or -M is reached
  await new Promise(() => undefined);
}

/** -s: syslog gets these commands, and standard error does not. */
function commandLog({ argv0 }: Invocation): (text: string) => void {
  setupLogging({ program: "smtp-sink", tag: "smtp-sink" });
  const syslog = setLogSinks([]);
  setupLogging({ program: "smtp-sink", standardError: argv0, ownFile: true });
  return (text) => {
    for (const sink of syslog) sink({ level: "info", event: "message", text: printable(text), fields: {} });
  };
}

async function listen(settings: Settings): Promise<number[]> {
  const { endpoint: text, backlog, family, windowSize } = settings;
  const endpoint = parseEndpoint(text, {});
  try {
    if (endpoint.kind === "unix") return [bindUnix(endpoint.path, "stream", 0o666, backlog)];
    const { host, port } = endpoint;
    const wildcards = { 0: ["0.0.0.0", "::"], 4: ["0.0.0.0"], 6: ["::"] }[family];
    const addresses = host === "" ? wildcards : await addressesOf(text, host, family);
    return addresses.map((address) => listenInet(address, port, backlog, windowSize));
  } catch (error) {
    const call = error instanceof Error && "call" in error ? String(error.call) : "listen";
    return fatal(`${call}: ${endpoint.kind === "unix" ? endpoint.path : text}: ${errorText(error)}`);
  }
}

function becomeUser({ user: name, root }: Settings): void {
  let user: User | undefined;
  if (name !== undefined) {
    user = lookupUser(name);
    if (user === undefined) fatal(`unknown user: ${name}`);
  }
  try {
    dropPrivileges(user, root);
  } catch (error) {
    fatal(`chroot(${root ?? "/"}): ${errorText(error)}`);
  }
}
