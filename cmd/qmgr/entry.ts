/** An entry: the recipients of one message that one delivery request carries to one destination. */
import type { Link } from "./list.ts";
import type { Message } from "./message.ts";
import type { Peer } from "./peer.ts";
import type { Queue } from "./queue.ts";
import type { Recipient } from "./recipient.ts";

export class Entry {
  readonly recipients: Recipient[] = [];
  readonly message: Message;
  readonly peer: Peer;
  /** `todo` until a delivery agent gets it, then `busy`. */
  stage: "todo" | "busy" = "todo";
  /** Its place in the peer's list while it is `todo`. */
  peerLink: Link<Entry> | undefined;
  /** Its place in the destination's `todo` or `busy` list. */
  queueLink: Link<Entry> | undefined;

  constructor(message: Message, peer: Peer) {
    this.message = message;
    this.peer = peer;
  }

  get queue(): Queue {
    return this.peer.queue;
  }
}
