/**
 * Run by the runtime of the product: `kept_peer.ts SOCKET DIRECTORY TEXT...` connects to DIRECTORY/SOCKET as a client that keeps its connection and writes one text after
 * another (JSON strings), each when something has come. Prints what came until the other side closed, or said nothing for eight seconds, as JSON.
 */
import { writeSync } from "node:fs";
import { errorCode } from "../../../lib/sys/errno.ts";
import { connectKept } from "../../../lib/sys/kept_socket.ts";
import { adoptSocket } from "../../../lib/sys/sockets.ts";

const [socket = "", directory = "", ...texts] = process.argv.slice(2);
process.chdir(directory);
const fd = connectKept(socket);
if (fd === undefined) throw new Error(`no connection to ${socket}`);
const channel = await adoptSocket(fd, socket, 20);
let input = "";
// who closes without having read all that was said is heard as a reset
const ended = (error: unknown): boolean => {
  if (errorCode(error) !== "ECONNRESET") throw error;
  return false;
};
const more = (): Promise<boolean> =>
  Promise.race([channel.more().catch(ended), Bun.sleep(8000).then(() => false)]);
while (await more()) {
  input += channel.peek().toString("latin1");
  channel.consume(channel.buffered);
  const next = texts.shift();
  if (next === undefined) continue;
  channel.write(Buffer.from(JSON.parse(next) as string, "latin1"));
  channel.push();
}
writeSync(1, JSON.stringify(input));
process.exit(0);
