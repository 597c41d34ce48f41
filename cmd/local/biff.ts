/** "You have mail": a datagram to comsat(8), which may or may not be there. */
import type { Socket } from "node:dgram";
import { warning } from "../../lib/log/log.ts";
import { toBytes } from "../../lib/sys/bytes.ts";
import { errorText } from "../../lib/sys/errno.ts";

const PORT = 512;
let socket: Socket | undefined;

/** Sends `user@offset`; trouble is only warned about. */
export function notifyBiff(text: string): void {
  if (socket === undefined) {
    socket = process.getBuiltinModule("node:dgram").createSocket("udp4");
    socket.on("error", (error) => warning(`biff_notify: ${errorText(error)}`));
    socket.unref();
  }
  socket.send(toBytes(`${text}\0`), PORT, "127.0.0.1", (error) => {
    if (error !== null && error !== undefined) warning(`biff_notify: ${errorText(error)}`);
  });
}
