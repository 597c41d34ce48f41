/** Servers that smtpd(8) talks to in scripts: DNS, policy service, filter before the queue. */
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { createServer, type Server, type Socket } from "node:net";
import packet, { type Record as Answer, type Packet } from "dns-packet";

/** The zone that all scripts see. */
const ZONE = new Map<string, Answer[]>();
const add = (name: string, ...records: ReadonlyArray<Omit<Answer, "name">>): void => {
  ZONE.set(name, [...(ZONE.get(name) ?? []), ...records.map((record) => ({ name, ttl: 60, ...record }))]);
};
const a = (name: string, ...addresses: string[]): void =>
  add(name, ...addresses.map((data) => ({ type: "A", data })));
const txt = (name: string, ...texts: string[]): void =>
  add(name, ...texts.map((data) => ({ type: "TXT", data })));
const mx = (name: string, preference: number, exchange: string): void =>
  add(name, { type: "MX", data: { preference, exchange } });
const ns = (name: string, data: string): void => add(name, { type: "NS", data });
const ptr = (address: string, data: string): void =>
  add(`${address.split(".").reverse().join(".")}.in-addr.arpa`, { type: "PTR", data });

ptr("127.0.0.1", "localhost");
a("localhost", "127.0.0.1");
ptr("127.0.2.10", "client.example.net");
a("client.example.net", "127.0.2.10");
ptr("127.0.2.11", "forged.example.net");
a("forged.example.net", "127.0.2.99");
ptr("127.0.2.12", "noaddr.example.net");
ptr("127.0.2.20", "client20.example.net");
a("client20.example.net", "127.0.2.20");
a("mail.example.com", "127.0.0.1");
a("good.test", "198.51.100.6");
mx("good.test", 10, "mx.good.test");
a("mx.good.test", "198.51.100.5");
ns("good.test", "ns1.good.test");
a("ns1.good.test", "198.51.100.53");
a("aonly.test", "198.51.100.7");
a("helo.good.test", "198.51.100.8");
mx("nullmx.test", 0, ".");
a("bad.test", "198.51.100.66");
mx("bad.test", 10, "mx.bad.test");
a("mx.bad.test", "198.51.100.67");
mx("deadmx.test", 10, "nohost.deadmx.test");
mx("backup.test", 5, "mx.good.test");
mx("backup.test", 10, "mail.example.com");
mx("mxfail.test", 10, "a.tempfail.test");
mx("primary.test", 5, "mail.example.com");
a("20.2.0.127.dnsbl.test", "127.0.0.2");
txt("20.2.0.127.dnsbl.test", "Blocked - see http://dnsbl.test/127.0.2.20");
a("21.2.0.127.dnsbl.test", "127.0.0.4", "127.0.0.9");
txt("21.2.0.127.dnsbl.test", "first reason", "second reason");
a("10.2.0.127.dnswl.test", "127.0.5.3");
a("client.example.net.rhswl.test", "127.0.1.2");
a("client.example.net.rhsbl.test", "127.0.1.2");
a("bad.test.rhsbl.test", "127.0.1.2");
txt("bad.test.rhsbl.test", "bad sender domain");
a("helo.good.test.rhsbl.test", "127.0.1.3");
a("elsewhere.test", "198.51.100.70");

const FAILING = /(?:^|\.)(?:tempfail\.test|failbl\.test)$|^14\.2\.0\.127\.in-addr\.arpa$/;

/** A name server on port 53 of an address of its own. */
export class NameServer {
  private readonly udp: UdpSocket = createSocket("udp4");

  constructor(readonly address: string) {
    this.udp.on("message", (message, from) => {
      this.udp.send(this.answer(message), from.port, from.address);
    });
  }

  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.udp.once("error", reject);
      this.udp.bind(53, this.address, resolve);
    });
  }
  stop(): void {
    this.udp.close();
  }

  private answer(message: Buffer): Buffer {
    const query = packet.decode(message);
    const question = query.questions?.[0];
    const name = question?.name.toLowerCase() ?? "";
    const known = ZONE.get(name);
    const answers = known?.filter(({ type }) => type === question?.type) ?? [];
    const response: Packet = {
      type: "response",
      id: query.id ?? 0,
      flags: 0x0180 | (FAILING.test(name) ? 2 : known === undefined ? 3 : 0),
      questions: query.questions ?? [],
      answers,
    };
    return packet.encode(response);
  }
}

abstract class Peer {
  port = 0;
  protected readonly server: Server;
  private readonly sockets = new Set<Socket>();

  constructor() {
    this.server = createServer((socket) => {
      this.sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => this.sockets.delete(socket));
      this.serve(socket);
    });
  }
  protected abstract serve(socket: Socket): void;

  async start(): Promise<this> {
    await new Promise<void>((done) => this.server.listen(0, "127.0.0.1", done));
    const address = this.server.address();
    this.port = typeof address === "object" && address !== null ? address.port : 0;
    return this;
  }
  stop(): void {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
  }
}

/** Answers with the action that the request's policy_context names; `!close`, `!hang` and `!raw TEXT` are what they say. */
export class PolicyServer extends Peer {
  asked: string[] = [];

  protected override serve(socket: Socket): void {
    let text = "";
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
        const request = text.slice(0, end).split("\n");
        text = text.slice(end + 2);
        this.asked.push(...request, "");
        const context = request.find((line) => line.startsWith("policy_context="))?.slice(15) ?? "";
        if (context === "!close") socket.end();
        else if (context.startsWith("!raw ")) socket.write(context.slice(5).replaceAll("\\n", "\n"));
        else if (context !== "!hang") socket.write(`action=${context}\n\n`);
      }
    });
  }
}

/** A filter that takes everything, but for the verbs that `verb=code` names: greet, ehlo, xforward, mail, rcpt, data, eom. */
export class FilterServer extends Peer {
  heard: string[] = [];
  private readonly actions = new Map<string, string>();

  constructor(behaviour: string) {
    super();
    for (const word of behaviour.split(" ")) {
      const [verb = "", action = ""] = word.split("=");
      this.actions.set(verb, action);
    }
  }

  protected override serve(socket: Socket): void {
    this.heard.push("(connection)");
    const answer = (verb: string, good: string): void => {
      const action = this.actions.get(verb);
      if (action === "drop") socket.end();
      else if (action === "junk") socket.write("hello\r\n250 Ok\r\n");
      else if (action === "mixed") socket.write("250-one\r\n550 two\r\n");
      else if (action === "multi") socket.write("550-5.1.1 no\r\n550 5.1.1 user\r\n");
      else socket.write(action === undefined ? `${good}\r\n` : `${action} ${verb} says so\r\n`);
    };
    answer("greet", "220 filter ESMTP");
    let text = "";
    let content = false;
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
        const line = text.slice(0, end + 1);
        text = text.slice(end + 1);
        this.heard.push(
          JSON.stringify(line)
            .slice(1, -1)
            .replace(/\\r\\n$/, ""),
        );
        const verb = line.trimEnd().split(" ", 1)[0]?.toLowerCase() ?? "";
        if (content) {
          if (line !== ".\r\n") continue;
          content = false;
          answer("eom", "250 2.0.0 Ok: queued as FILTERED");
        } else if (verb === "quit") {
          socket.end("221 bye\r\n");
        } else if (verb === "data") {
          content = !this.actions.has("data");
          answer("data", "354 go");
        } else if (verb === "ehlo")
          answer("ehlo", "250-filter\r\n250-XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT\r\n250 8BITMIME");
        else answer(verb, "250 2.0.0 Ok");
      }
    });
  }
}
