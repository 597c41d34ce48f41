/** Creating and watching the endpoints of services. */

import { parameter } from "../../lib/config/configuration.ts";
import type { MasterService } from "../../lib/config/master_cf.ts";
import { fatal } from "../../lib/log/log.ts";
import { asUser } from "../../lib/privsep/identity.ts";
import { errorCode, errorText, unless } from "../../lib/sys/errno.ts";
import { makeFifo, setCloseOnExec, signalWhenReadable } from "../../lib/sys/files.ts";
import { closeSync, constants, fchmodSync, openSync, readSync, unlinkSync } from "../../lib/sys/fs.ts";
import { lookupUser, realUid, type User } from "../../lib/sys/identity.ts";
import { bindUnix, listenInet, UNIX_PATH_LIMIT } from "../../lib/sys/sockets.ts";

const SOCKET_MODE = 0o666;
const FIFO_MODE = 0o622;

export const mailOwner = (): User =>
  lookupUser(parameter("mail_owner")) ?? fatal(`unknown mail_owner: ${parameter("mail_owner")}`);

/** Runs work with mail_owner's effective rights; a private instance without root has them already. */
export function asMailOwner<T>(work: () => T): T {
  if (realUid() !== 0) return work();
  const owner = mailOwner();
  return asUser({ uid: owner.uid, gid: owner.gid }, work);
}

/** Opens what a service listens on; the descriptors, in the order in which a child gets them. A failure is fatal. */
export function openEndpoint(service: MasterService): number[] {
  const backlog = Math.max(service.processLimit, parameter("default_process_limit"));
  if (service.endpoint.kind === "inet")
    return service.endpoint.listeners.map(({ address, port }) => {
      try {
        return listenInet(address, port, backlog, parameter("tcp_windowsize"));
      } catch (error) {
        return fatal(`bind ${address} port ${port}: ${errorText(error)}`);
      }
    });
  const { path } = service.endpoint;
  if (path.length > UNIX_PATH_LIMIT) fatal(`unix-domain name too long: ${path}`);
  try {
    return [
      asMailOwner(() => (service.type === "fifo" ? openFifo(path) : openSocket(service, path, backlog))),
    ];
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return fatal(`bind: ${path}: ${errorText(error)}`);
  }
}

const openSocket = (service: MasterService, path: string, backlog: number): number =>
  bindUnix(path, service.type === "unix-dgram" ? "datagram" : "stream", SOCKET_MODE, backlog);

function openFifo(path: string): number {
  unless(["ENOENT"], () => unlinkSync(path));
  makeFifo(path, FIFO_MODE);
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  fchmodSync(fd, FIFO_MODE);
  setCloseOnExec(fd);
  unless(["EAGAIN"], () => {
    const drain = Buffer.alloc(4096);
    while (readSync(fd, drain) > 0);
  });
  return fd;
}

/** Has the kernel signal input on the endpoint (SIGIO), or stop doing so. */
export function watchEndpoint(fds: ReadonlyArray<number>, enabled: boolean): void {
  for (const fd of fds) signalWhenReadable(fd, enabled);
}

export function closeEndpoint(fds: ReadonlyArray<number>): void {
  for (const fd of fds) {
    signalWhenReadable(fd, false);
    closeSync(fd);
  }
}
