/** A server that answers each request with the next line of a script, and remembers what it was asked. */
import { createServer, type Server, type Socket } from "node:net";
import type { Test } from "tap";

/** `close`: the connection ends instead; `text` + `last`: it ends after the text. */
export type ScriptedReply = string | { readonly close: true } | { readonly last: string };

export class ScriptedServer {
  readonly requests: string[] = [];
  connections = 0;
  private replies: ReadonlyArray<ScriptedReply> = [];
  /** Takes the place of the script. */
  respond: ((request: string) => ScriptedReply) | undefined;
  private readonly sockets = new Set<Socket>();
  private readonly server: Server = createServer((socket) => this.serve(socket));

  private constructor(readonly port: number) {}

  static async start(t: Pick<Test, "teardown">, port = 0): Promise<ScriptedServer> {
    const scripted = new ScriptedServer(0);
    await new Promise<void>((resolve) => scripted.server.listen(port, "127.0.0.1", resolve));
    const address = scripted.server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    Object.assign(scripted, { port: address.port });
    t.teardown(() => scripted.stop());
    return scripted;
  }

  /** Answers from now on; the last one is repeated. */
  script(...replies: ScriptedReply[]): void {
    this.replies = replies;
    this.requests.length = 0;
  }

  private serve(socket: Socket): void {
    this.connections++;
    this.sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => this.sockets.delete(socket));
    socket.on("data", (data) => {
      this.requests.push(data.toString("latin1"));
      const request = data.toString("latin1");
      const reply =
        this.respond?.(request) ?? this.replies[Math.min(this.requests.length, this.replies.length) - 1];
      if (reply === undefined) return;
      if (typeof reply === "string") socket.write(reply, "latin1");
      else if ("last" in reply) socket.end(reply.last, "latin1");
      else socket.destroy();
    });
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }
}
