/** The listening side: how many sessions at a time, what is counted, and when it is enough. */
import { createServer, type Socket } from "node:net";
import { SMTPServer } from "smtp-server";
import { print } from "../../lib/daemon/command.ts";
import { fatal } from "../../lib/log/log.ts";
import { SinkConnection } from "./connection.ts";
import type { Settings } from "./options.ts";

export class Sink {
  readonly settings: Settings;
  /** What smtp-server's sessions want to know; it never listens itself. */
  readonly server: SMTPServer;
  readonly logCommand: (text: string) => void;
  readonly #waiting: Socket[] = [];
  #open = 0;
  #sessions = 0;
  #quits = 0;
  #messages = 0;

  constructor(settings: Settings, logCommand: (text: string) => void) {
    this.settings = settings;
    this.logCommand = logCommand;
    this.server = new SMTPServer({
      logger: false,
      disabledCommands: ["STARTTLS"],
      socketTimeout: settings.timeLimit * 1000,
      maxCommandLength: 2048,
    });
  }

  /** Serves what comes to a listening socket. */
  serve(fd: number): void {
    const server = createServer({ pauseOnConnect: true }, (socket) => this.#accept(socket));
    server.on("error", (error) => fatal(`accept connection: ${error.message}`));
    server.listen({ fd });
  }

  #accept(socket: Socket): void {
    if (this.#open < this.settings.maxConcurrency) this.#begin(socket);
    else if (this.#waiting.length < this.settings.backlog) this.#waiting.push(socket);
    else socket.destroy();
  }

  #begin(socket: Socket): void {
    this.#open++;
    const connection = new SinkConnection(this, socket);
    connection.init();
  }

  quit(): void {
    this.#quits++;
  }

  /** A message came; true when it was the last one wanted. */
  message(): boolean {
    this.#messages++;
    this.#show();
    return this.#messages === this.settings.messageLimit;
  }

  closed(): void {
    this.#open--;
    this.#sessions++;
    this.#show();
    if (this.#sessions === this.settings.sessionLimit) process.exit(0);
    let next = this.#waiting.shift();
    while (next?.destroyed === true) next = this.#waiting.shift();
    if (next !== undefined) this.#begin(next);
  }

  #show(): void {
    if (this.settings.count) print(`sess=${this.#sessions} quit=${this.#quits} mesg=${this.#messages}\r`);
  }
}
