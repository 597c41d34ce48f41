/** Run by Bun, as root: goes into an empty jail and connects to a port where nobody listens. Prints why that failed. */
import { chroot } from "../../../lib/sys/identity.ts";
import { connectInet } from "../../../lib/sys/sockets.ts";

const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
const { port } = server;
server.stop(true);
chroot(process.argv[2] ?? "");
process.chdir("/");
try {
  await connectInet("127.0.0.1", port, "server", { seconds: 3 });
  console.log("connected");
} catch (error) {
  console.log(error instanceof Error ? error.message : error);
}
process.exit(0);
