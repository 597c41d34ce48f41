/** The list with which nearly every server speaks first: the name of its protocol (ipc.md 4). */
import { constant, type Message, message } from "../attributes.ts";

/** The greeting of one protocol. */
export const greeting = (protocol: string): Message<object> =>
  message(`${protocol} greeting`, [constant("protocol", protocol)]) as Message<object>;
