/** `$name` in forward_path, luser_relay and command_execution_directory (local(8)). */
import { type Expansion, expandMacros } from "../../lib/config/expand.ts";
import type { User } from "../../lib/sys/identity.ts";
import type { State } from "./state.ts";

/** Expands with the attributes of the recipient; characters of values outside `filter` become `_`. */
export const expandLocal = (
  text: string,
  state: State,
  user: User | undefined,
  filter?: ReadonlySet<string>,
): Expansion =>
  expandMacros(text, {
    recursive: false,
    lookup: (name) => attribute(name, state, user),
    ...(filter === undefined ? {} : { filter }),
  });

function attribute(name: string, state: State, user: User | undefined): string | undefined {
  switch (name) {
    case "user":
      return state.user;
    case "home":
      return user?.home;
    case "shell":
      return user?.shell;
    case "domain":
      return state.domain;
    case "local":
    case "mailbox":
      return state.local;
    case "recipient":
      return state.recipient.recipient;
    case "extension":
      return state.extension;
    case "recipient_delimiter":
      return state.delimiter;
    default:
      return undefined;
  }
}
