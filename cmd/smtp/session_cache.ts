/** Connections kept open for the next delivery of this process to the same place (delivery.md 12). */

import type { Peer, SmtpSession } from "../../lib/smtp/client_session.ts";
import { after, type Timer } from "../../lib/sys/timers.ts";

export interface SavedSession {
  readonly session: SmtpSession;
  readonly endpoint: string;
  readonly destination: string | undefined;
  /** Next hop that led there. */
  readonly nexthop: string;
}

type Taken = SmtpSession | undefined | Promise<SmtpSession | undefined>;

/** Where connections are kept between deliveries. */
export interface SessionStore {
  /** Keeps a connection for `seconds`. */
  save(saved: SavedSession, seconds: number): void | Promise<void>;
  takeByEndpoint(label: string, peer: Peer): Taken;
  takeByDestination(label: string): Taken;
  clear(): void;
}

interface Entry extends SavedSession {
  readonly timer: Timer;
  /** A busy connection is kept thousands of times: each time leaves nothing behind. */
  readonly stopWatching: () => void;
}

/** More idle connections than this are not kept. */
const CAPACITY = 100;

export class SessionCache implements SessionStore {
  readonly #byEndpoint = new Map<string, Entry[]>();
  readonly #byDestination = new Map<string, Entry[]>();
  #size = 0;

  /** Keeps a connection for `seconds`. It is given out once, oldest first; when the server says anything before, it is dropped. */
  save(saved: SavedSession, seconds: number): void {
    const { session } = saved;
    if (this.#size >= CAPACITY || session.channel.readable || session.channel.closed) {
      session.close();
      return;
    }
    const entry: Entry = {
      ...saved,
      timer: after(
        seconds,
        () => {
          this.#remove(entry);
          session.close();
        },
        { background: true },
      ),
      stopWatching: session.channel.onceClosed(() => this.#remove(entry)),
    };
    this.#size++;
    add(this.#byEndpoint, saved.endpoint, entry);
    if (saved.destination !== undefined) add(this.#byDestination, saved.destination, entry);
  }

  takeByEndpoint(label: string, peer: Peer): SmtpSession | undefined {
    const session = this.#take(this.#byEndpoint, label);
    session?.rename(peer.host);
    return session;
  }
  takeByDestination(label: string): SmtpSession | undefined {
    return this.#take(this.#byDestination, label);
  }

  /** Closes every idle connection. */
  clear(): void {
    for (const entries of [...this.#byEndpoint.values()])
      for (const entry of [...entries]) {
        this.#remove(entry);
        entry.session.close();
      }
  }

  #take(index: Map<string, Entry[]>, label: string): SmtpSession | undefined {
    for (let entry = index.get(label)?.[0]; entry !== undefined; entry = index.get(label)?.[0]) {
      this.#remove(entry);
      const { channel } = entry.session;
      if (!channel.closed && !channel.readable) return entry.session;
      entry.session.close();
    }
    return undefined;
  }

  #remove(entry: Entry): void {
    entry.timer.cancel();
    entry.stopWatching();
    if (!drop(this.#byEndpoint, entry.endpoint, entry)) return;
    this.#size--;
    if (entry.destination !== undefined) drop(this.#byDestination, entry.destination, entry);
  }
}

function add(index: Map<string, Entry[]>, label: string, entry: Entry): void {
  const entries = index.get(label);
  if (entries === undefined) index.set(label, [entry]);
  else entries.push(entry);
}

function drop(index: Map<string, Entry[]>, label: string, entry: Entry): boolean {
  const entries = index.get(label);
  const at = entries?.indexOf(entry) ?? -1;
  if (entries === undefined || at < 0) return false;
  entries.splice(at, 1);
  if (entries.length === 0) index.delete(label);
  return true;
}
