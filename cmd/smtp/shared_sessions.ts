/** Connections kept by scache(8), for processes that serve one delivery at a time and so have nothing to share with themselves (delivery.md 12). */

import { scacheClient } from "../../lib/ipc/clients/scache.ts";
import { nameAddressPort, type Peer, type SessionRules, SmtpSession } from "../../lib/smtp/client_session.ts";
import { pendingBytes } from "../../lib/sys/files.ts";
import { closeSync, fstatSync } from "../../lib/sys/fs.ts";
import { adoptSocket, releaseSocket } from "../../lib/sys/sockets.ts";
import type { SavedSession, SessionStore } from "./session_cache.ts";
import {
  formatDestination,
  formatEndpoint,
  parseDestinationProperty,
  parseEndpoint,
} from "./session_properties.ts";

export interface SharedSessionsOptions {
  readonly rules: (peer: Peer) => Promise<SessionRules>;
  readonly tlsLevel: number;
  /** Seconds that a connection is used in all. */
  readonly lifetime: number;
}

export class SharedSessions implements SessionStore {
  constructor(private readonly options: SharedSessionsOptions) {}

  async save({ session, endpoint, destination, nexthop }: SavedSession, seconds: number): Promise<void> {
    const { features, peer, reuseCount, ageSeconds, channel } = session;
    const fd = channel.readable ? undefined : releaseSocket(channel);
    if (fd === undefined) {
      session.close();
      return;
    }
    const scache = scacheClient();
    const { host, address, port = 0 } = peer;
    if (destination !== undefined)
      await scache.saveDestination(
        seconds,
        destination,
        formatDestination({ nexthop, host, address, port }),
        endpoint,
      );
    const expires = Math.floor(Date.now() / 1000 + this.options.lifetime - ageSeconds);
    const property = formatEndpoint({ tlsLevel: this.options.tlsLevel, reuseCount, features, expires });
    await scache.saveEndpoint(seconds, endpoint, property, fd);
  }

  async takeByEndpoint(label: string, peer: Peer): Promise<SmtpSession | undefined> {
    const found = await scacheClient().findEndpoint(label);
    return found && this.#resume(found.fd, peer, found.endpointProperty);
  }

  async takeByDestination(label: string): Promise<SmtpSession | undefined> {
    const found = await scacheClient().findDestination(label);
    if (found === undefined) return undefined;
    const place = parseDestinationProperty(found.destinationProperty);
    if (place === undefined) {
      closeSync(found.fd);
      return undefined;
    }
    const { host, address, port } = place;
    return this.#resume(found.fd, { host, address, port }, found.endpointProperty);
  }

  async #resume(fd: number, peer: Peer, property: string): Promise<SmtpSession | undefined> {
    const known = parseEndpoint(property);
    // what its server said unasked, a farewell, would be taken for the answer to our first command
    const usable = fstatSync(fd).isSocket() && pendingBytes(fd) === 0;
    if (known === undefined || !usable) {
      closeSync(fd);
      return undefined;
    }
    const session = new SmtpSession(
      await adoptSocket(fd, nameAddressPort(peer)),
      peer,
      await this.options.rules(peer),
    );
    session.features = known.features;
    session.reuseCount = known.reuseCount;
    const age = this.options.lifetime - (known.expires - Date.now() / 1000);
    session.created = performance.now() - Math.max(0, age) * 1000;
    return session;
  }

  /** What scache(8) has stays with it. */
  clear(): void {
    scacheClient().close();
  }
}
