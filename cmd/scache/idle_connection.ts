/** A connection that nobody uses for the moment. Whatever its server says now makes it useless: closing, or a farewell. */

import { errorCode, SysError } from "../../lib/sys/errno.ts";
import { closeSync } from "../../lib/sys/fs.ts";
import { adoptSocket, releaseSocket } from "../../lib/sys/sockets.ts";
import type { IdleConnection } from "./store.ts";

/** Watches a descriptor, which belongs to the result then. Throws SysError when it is no socket. */
export async function watchConnection(fd: number): Promise<IdleConnection> {
  const channel = await adoptSocket(fd, "cached connection").catch((error: unknown) => {
    closeSync(fd);
    if (errorCode(error) === undefined && !(error instanceof SysError)) throw error;
    return undefined;
  });
  if (channel === undefined) return GONE;
  return {
    release: () => (channel.readable ? undefined : releaseSocket(channel)),
    close: () => channel.destroy(),
    onceSpoilt(listener) {
      channel.onceClosed(listener);
      void channel.more().then(listener, listener);
    },
  };
}

const GONE: IdleConnection = {
  release: () => undefined,
  close: () => undefined,
  onceSpoilt: (listener) => listener(),
};
