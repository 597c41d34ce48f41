/** `|command` destinations and mailbox_command (delivery.md 4.8). */
import { parameter } from "../../lib/config/configuration.ts";
import { deliverToCommand } from "../../lib/delivery/command.ts";
import { COMMAND } from "../../lib/delivery/copy.ts";
import type { Disposition } from "../../lib/delivery/disposition.ts";
import { exportedEnvironment } from "../../lib/delivery/exported_environment.ts";
import { markCorrupt } from "../../lib/delivery/request.ts";
import { dsn, isTraceOnly } from "../../lib/delivery/status.ts";
import { warning } from "../../lib/log/log.ts";
import type { User } from "../../lib/sys/identity.ts";
import { expandLocal } from "./expand.ts";
import { failToOwner } from "./owner.ts";
import { copySource, defer, type State, sentTo } from "./state.ts";
import { deliveryUser } from "./user.ts";

/** A command of an alias, :include: or .forward file. */
export const deliverCommand = (state: State, command: string): Promise<Disposition> =>
  deliverCommandAs(state, command, state.rights);

export async function deliverCommandAs(
  state: State,
  command: string,
  context: User | undefined,
): Promise<Disposition> {
  const { session } = state;
  const { request, settings } = session;
  const user = deliveryUser(context);
  if (session.duplicates.seen(`command ${state.user}:${user.uid} ${command}`)) return "finished";
  if (isTraceOnly(request.flags)) return sentTo(state, dsn("2.0.0", `delivers to command: ${command}`));
  const directory = workingDirectory(state, context);
  if (!directory.ok) return defer(state, dsn("4.3.5", "mail system configuration error"));
  const outcome = await deliverToCommand({
    command,
    shell: parameter("local_command_shell"),
    uid: user.uid,
    gid: user.gid,
    environment: commandEnvironment(state, context),
    source: copySource(state, parameter("enable_original_recipient")),
    copy: { ...COMMAND, deliveredTo: settings.prependDelivered.has("command") },
    timeLimit: parameter("command_time_limit"),
    program: "local",
    ...(directory.path === "" ? {} : { directory: directory.path }),
  });
  switch (outcome.kind) {
    case "ok":
      return sentTo(state, dsn("2.0.0", `delivered to command: ${command}`));
    case "corrupt":
      markCorrupt(request, outcome.recordType);
      session.outcomes++;
      return "retry";
    case "failed":
      return failToOwner(state, outcome.dsn);
  }
}

/** The directory to run in; empty: the queue directory. */
function workingDirectory(
  state: State,
  user: User | undefined,
): { readonly ok: true; readonly path: string } | { readonly ok: false } {
  const value = parameter("command_execution_directory");
  if (value === "") return { ok: true, path: "" };
  const expansion = expandLocal(value, state, user, state.session.settings.directoryFilter);
  if (expansion.ok) return { ok: true, path: expansion.value };
  warning(`bad parameter value syntax for command_execution_directory: ${value}`);
  return { ok: false };
}

function commandEnvironment(state: State, context: User | undefined): Map<string, string> {
  const { request, settings } = state.session;
  const environment = new Map(exportedEnvironment());
  const set = (name: string, value: string | undefined): void => {
    if (value !== undefined) environment.set(name, filtered(value, settings.commandFilter));
  };
  const setKnown = (name: string, value: string): void => {
    if (value !== "") set(name, value);
  };
  if (context !== undefined) {
    set("HOME", context.home);
    set("SHELL", context.shell);
  }
  set("LOGNAME", state.user);
  set("USER", state.user);
  set("SENDER", state.sender);
  set("RECIPIENT", state.recipient.recipient);
  set("LOCAL", state.local);
  set("DOMAIN", state.domain);
  set("EXTENSION", state.extension);
  setKnown("ORIGINAL_RECIPIENT", state.recipient.originalRecipient);
  setKnown("ENVID", state.envelopeId);
  setKnown("CLIENT_HOSTNAME", request.clientName);
  setKnown("CLIENT_ADDRESS", request.clientAddress);
  setKnown("CLIENT_HELO", request.clientHelo);
  setKnown("CLIENT_PROTOCOL", request.clientProtocol);
  setKnown("SASL_METHOD", request.saslMethod);
  setKnown("SASL_SENDER", request.saslSender);
  setKnown("SASL_USERNAME", request.saslUsername);
  return environment;
}

function filtered(value: string, allowed: ReadonlySet<string>): string {
  let out = "";
  for (const character of value) out += allowed.has(character) ? character : "_";
  return out;
}
