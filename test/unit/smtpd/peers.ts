/** Policy servers and before-queue filters, played from the recordings of a real Postfix's conversations with such. */
import type { Endpoint } from "../../../lib/dns/endpoint.ts";
import { Channel } from "../../../lib/sys/channel.ts";
import { errnoNumber, SysError } from "../../../lib/sys/errno.ts";

type Turn =
  | { readonly request: string[] }
  | { readonly reply: string }
  | { readonly smtpd: string }
  | { readonly filter: string };
export interface Exchange {
  readonly port: number;
  readonly connections: Turn[][];
}

/** Values that are not the same in every run. */
const normalized = (line: string): string =>
  line
    .replace(/\b54321\b/g, "CLIENTPORT")
    .replace(/^instance=[0-9a-f]+\.[0-9a-f]+\.[0-9a-f]+\.[0-9a-f]+$/, "instance=PID.SEC.USEC.SEQNO(hex)")
    .replace(/^server_port=[0-9]+$/, "server_port=PORT")
    .replace(/[A-Z][a-z]{2}, [ 0-9][0-9] [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} [+-][0-9]{4} \([A-Z]+\)/, "DATE");

export class Peers {
  readonly differences: string[] = [];
  private readonly waiting: Map<number, Turn[][]>;
  private readonly open: Player[] = [];

  constructor(
    exchanges: readonly Exchange[],
    /** Takes each request as it came, in place of the comparison. */
    private readonly overhear?: (request: string) => void,
  ) {
    this.waiting = new Map(exchanges.map(({ port, connections }) => [port, [...connections]]));
  }

  connect(endpoint: Endpoint, seconds: number): Channel {
    const port = endpoint.kind === "inet" ? Number(endpoint.port) : 0;
    const turns = this.waiting.get(port)?.shift();
    if (turns === undefined) throw new SysError("connect", errnoNumber("ECONNREFUSED"), endpoint.name);
    const channel = new Channel(endpoint.name, seconds);
    this.open.push(new Player(channel, turns, (text) => this.differences.push(text), this.overhear));
    return channel;
  }

  /** What was recorded and did not happen. */
  finish(): string[] {
    for (const player of this.open) {
      const left = player.left.find((turn) => "request" in turn || "smtpd" in turn);
      if (left !== undefined) this.differences.push(`the server did not hear ${JSON.stringify(left)}`);
    }
    for (const [port, left] of this.waiting)
      if (left.length > 0) this.differences.push(`${left.length} connections less to ${port}`);
    return this.differences;
  }
}

/** One connection: says its lines when it has heard what comes before them. */
class Player {
  readonly left: Turn[];
  private heard = "";

  constructor(
    private readonly channel: Channel,
    turns: readonly Turn[],
    private readonly complain: (text: string) => void,
    private readonly overhear: ((request: string) => void) | undefined,
  ) {
    this.left = [...turns];
    channel.attach({
      write: (bytes) => {
        this.heard += Buffer.from(bytes).toString("latin1");
        setImmediate(() => this.play());
        return bytes.length;
      },
      end() {},
      terminate() {},
      pause() {},
      resume() {},
    });
    setImmediate(() => this.play());
  }

  private play(): void {
    for (;;) {
      const [turn] = this.left;
      if (turn === undefined) return;
      if ("reply" in turn) this.say(turn.reply);
      else if ("filter" in turn) this.say(`${turn.filter}\r\n`);
      else if (!this.listen(turn)) return;
      this.left.shift();
      const next = this.left[0];
      const silent = next === undefined && ("request" in turn || ("smtpd" in turn && turn.smtpd !== "QUIT"));
      if (silent) this.channel.onEnd();
    }
  }

  private say(text: string): void {
    if (!this.channel.closed) this.channel.onData(Buffer.from(text, "latin1"));
  }

  /** True when what the server waits for has been heard; it is compared. */
  private listen(turn: { readonly request: string[] } | { readonly smtpd: string }): boolean {
    const [end, want] = "request" in turn ? ["\n\n", turn.request.join("\n")] : ["\r\n", turn.smtpd];
    const at = this.heard.indexOf(end);
    if (at < 0) return false;
    const got = this.heard.slice(0, at);
    this.heard = this.heard.slice(at + end.length);
    if (this.overhear !== undefined) {
      this.overhear(got);
      return true;
    }
    const lines = (text: string): string[] => text.split("\n").map(normalized);
    for (const [index, line] of lines(want).entries()) {
      const other = lines(got)[index];
      if (other !== line)
        this.complain(`the server heard ${JSON.stringify(other)}, not ${JSON.stringify(line)}`);
    }
    if (lines(got).length !== lines(want).length) this.complain(`the server heard ${got}`);
    return true;
  }
}
