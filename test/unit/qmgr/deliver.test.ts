/** Conversations with delivery agents, over sockets of the test. */
import t, { type Test } from "tap";
import type { Agent, AgentSocket } from "../../../cmd/qmgr/agent.ts";
import { Deliverer } from "../../../cmd/qmgr/deliver.ts";
import type { Settings, TransportSettings } from "../../../cmd/qmgr/settings.ts";
import { decode, encode } from "../../../lib/ipc/attributes.ts";
import {
  DeliveryGreeting,
  DeliveryReply,
  DeliveryRequest,
  Recipient,
} from "../../../lib/ipc/protocols/delivery.ts";
import { setLogSinks } from "../../../lib/log/log.ts";
import { SysError } from "../../../lib/sys/errno.ts";
import { type Fixture, feed, fixture } from "./fixture.ts";

class FakeSocket implements AgentSocket {
  readonly sent: Buffer[] = [];
  ended = false;
  room = Number.POSITIVE_INFINITY;
  write(bytes: Uint8Array): number {
    if (this.ended) return -1;
    const taken = Math.min(this.room, bytes.length);
    this.sent.push(Buffer.from(bytes.subarray(0, taken)));
    return taken;
  }
  end(): void {
    this.ended = true;
  }
  rest: Buffer | undefined;
  release(rest: Buffer): void {
    this.ended = true;
    this.rest = rest;
  }
}

interface Peer {
  readonly agent: Agent;
  readonly socket: FakeSocket;
  greet(): void;
  reply(status: number, dsnStatus?: string, reason?: string): void;
}

interface World extends Fixture {
  readonly deliverer: Deliverer;
  readonly peers: Peer[];
  readonly lines: string[];
}

const bytes = (text: string): Buffer => Buffer.from(text, "latin1");
const replyBytes = (status: number, dsnStatus: string, reason: string): Buffer =>
  bytes(
    encode(DeliveryReply, {
      dsnStatus,
      diagnosticType: "",
      diagnosticText: "",
      mtaType: "",
      mtaName: "",
      action: "",
      reason,
      status,
    }),
  );

function test(
  name: string,
  transport: Partial<TransportSettings>,
  settings: Partial<Settings>,
  body: (w: World, t: Test) => void,
): void {
  t.test(name, async (t: Test) => {
    const made = fixture(transport, settings);
    const peers: Peer[] = [];
    const lines: string[] = [];
    const sinks = setLogSinks([(event) => lines.push(event.text)]);
    t.teardown(() => void setLogSinks(sinks));
    const deliverer = new Deliverer(made.manager, (agent) => {
      const socket = new FakeSocket();
      agent.attach(socket);
      peers.push({
        agent,
        socket,
        greet: () => agent.onData(bytes(encode(DeliveryGreeting, {}))),
        reply: (status, dsnStatus = "", reason = "") => agent.onData(replyBytes(status, dsnStatus, reason)),
      });
    });
    body(Object.assign(made, { deliverer, peers, lines }), t);
  });
}

const last = (w: World): Peer => w.peers.at(-1) as Peer;

test("one delivery", {}, {}, (w, t) => {
  feed(w, "A", 2, "smtp");
  w.deliverer.connectAgents();
  t.equal(w.peers.length, 1, "one connection for one entry");
  const peer = last(w);
  const greeting = bytes(encode(DeliveryGreeting, {}));
  peer.agent.onData(greeting.subarray(0, 5));
  peer.agent.onData(greeting.subarray(5));
  const request = Buffer.concat(peer.socket.sent);
  const decoded = decode(DeliveryRequest, request);
  t.match(decoded, {
    kind: "value",
    value: { flags: 3, queueId: "A", recipientCount: 2, sender: "sender@example.com" },
  });
  if (decoded.kind === "value") {
    t.equal(decoded.value.time.length, 88);
    t.match(decode(Recipient, request.subarray(decoded.length)), {
      value: { recipient: "x0@example.com", offset: 100 },
    });
  }
  const reply = replyBytes(0, "", "");
  peer.agent.onData(reply.subarray(0, 7));
  t.equal(w.finished.length, 0);
  peer.agent.onData(reply.subarray(7));
  t.ok(peer.socket.ended);
  t.same(
    w.finished.map((m) => [m.id, m.hasProblems]),
    [["A", false]],
  );
});

test("at most two connections ahead, as many as there are entries", { recipientLimit: 1 }, {}, (w, t) => {
  feed(w, "A", 3, "smtp");
  w.deliverer.connectAgents();
  t.equal(w.peers.length, 2);
  w.peers[0]?.greet();
  w.deliverer.connectAgents();
  t.equal(w.peers.length, 3);
  w.peers[1]?.greet();
  w.peers[2]?.greet();
  w.deliverer.connectAgents();
  t.equal(w.peers.length, 3);
  for (const peer of w.peers) peer.reply(0);
  t.equal(w.finished.length, 1);
});

test(
  "a kept connection that ends without a word is replaced, once, and the request sent again",
  {},
  {},
  (w, t) => {
    feed(w, "A", 1, "smtp");
    w.deliverer.connectAgents();
    const peer = last(w);
    const old = new FakeSocket();
    const fresh = new FakeSocket();
    let reconnected = 0;
    peer.agent.adopt(old, () => {
      reconnected++;
      peer.agent.attach(fresh);
    });
    t.equal(old.sent.length, 1, "it has greeted before");
    peer.agent.onClose();
    t.equal(reconnected, 1);
    t.same(fresh.sent, []);
    peer.greet();
    t.same(fresh.sent, old.sent);
    t.same(w.finished, []);
    peer.agent.onClose();
    t.equal(reconnected, 1);
    t.same(w.lines, ["private/smtp socket: malformed response"]);
    t.same(
      w.finished.map((m) => m.hasProblems),
      [true],
    );
  },
);

test("a kept connection that ends in the middle of the answer is not replaced", {}, {}, (w, t) => {
  feed(w, "A", 1, "smtp");
  w.deliverer.connectAgents();
  const { agent } = last(w);
  agent.adopt(new FakeSocket(), () => t.fail("it was in the middle of a delivery"));
  agent.onData(replyBytes(0, "", "").subarray(0, 7));
  agent.onClose();
  t.same(
    w.finished.map((m) => m.hasProblems),
    [true],
  );
});

test("no agent behind a kept connection that ended: the delivery has failed", {}, {}, (w, t) => {
  feed(w, "A", 1, "smtp");
  w.deliverer.connectAgents();
  const { agent } = last(w);
  agent.adopt(new FakeSocket(), () => agent.onFailure(new SysError("connect", 111, "private/smtp")));
  agent.onClose();
  t.same(w.lines, ["connect to transport private/smtp: Connection refused"]);
  t.same(
    w.finished.map((m) => m.hasProblems),
    [true],
  );
});

test("what comes after an answer is the next greeting", {}, {}, (w, t) => {
  feed(w, "A", 1, "smtp");
  w.deliverer.connectAgents();
  const { agent, socket, greet } = last(w);
  greet();
  const greeting = bytes(encode(DeliveryGreeting, {}));
  agent.onData(Buffer.concat([replyBytes(0, "", ""), greeting]));
  t.same(socket.rest, greeting);
  t.equal(w.finished.length, 1);
});

test(
  "trouble with the site: the rest of its mail goes to retry",
  { recipientLimit: 1, concurrencyLimit: 1, initialConcurrency: 1 },
  {},
  (w, t) => {
    feed(w, "A", 3, "smtp");
    w.deliverer.connectAgents();
    last(w).greet();
    last(w).reply(-1, "4.4.1", "connect to x: Connection refused");
    const retry = w.manager.transport("retry");
    t.same(
      [...retry.queues.values()].map((queue) => queue.nexthop),
      ["4.4.1 delivery temporarily suspended: connect to x: Connection refused"],
    );
    w.deliverer.connectAgents();
    t.equal(last(w).agent.transport, "retry");
    for (let i = 0; i < 2; i++) {
      last(w).greet();
      last(w).reply(-1);
      w.deliverer.connectAgents();
    }
    t.equal(w.finished.length, 1);
    t.equal(w.manager.recipientCount, 0);
  },
);

test("QMG-05 an agent that dies takes no destination with it", { recipientLimit: 1 }, {}, (w, t) => {
  feed(w, "A", 1, "smtp");
  w.deliverer.connectAgents();
  last(w).greet();
  last(w).agent.onClose();
  t.same(w.lines, ["private/smtp socket: malformed response"]);
  t.same(
    w.finished.map((m) => m.hasProblems),
    [true],
  );
  t.equal(w.manager.transport("smtp").dead, undefined);
  t.equal(w.manager.transport("retry").queues.size, 0);
});

test(
  "a transport without agents rests, also when retry has none: its mail is deferred directly",
  {},
  {},
  (w, t) => {
    feed(w, "A", 1, "gone");
    w.deliverer.connectAgents();
    last(w).agent.onFailure(new SysError("connect", 2, "private/gone"));
    t.same(w.lines, ["connect to transport private/gone: No such file or directory"]);
    w.deliverer.connectAgents();
    t.equal(last(w).agent.transport, "retry");
    last(w).agent.onFailure(new SysError("connect", 111, "private/retry"));
    t.equal(w.deferred.length, 1);
    t.equal(w.finished.length, 1);
    w.time.advance(61);
    t.equal(w.manager.transport("gone").dead, undefined);
  },
);

test("a bad greeting", {}, {}, (w, t) => {
  feed(w, "A", 1, "smtp");
  w.deliverer.connectAgents();
  last(w).agent.onData(bytes("protocol\0nonsense\0\0"));
  t.same(w.lines, [
    "unexpected protocol nonsense from private/smtp socket (expected: delivery_request_protocol)",
    "private/smtp socket: malformed response",
  ]);
  t.not(w.manager.transport("smtp").dead, undefined);
});

test("a connection that nobody needs any more is closed", { recipientLimit: 1 }, {}, (w, t) => {
  feed(w, "A", 1, "smtp");
  w.deliverer.connectAgents();
  w.manager.transport("smtp").pendingConnections = 0;
  w.deliverer.connectAgents();
  w.peers[0]?.greet();
  w.peers[1]?.greet();
  t.ok(w.peers[1]?.socket.ended);
  t.notOk(w.peers[0]?.socket.ended);
  w.peers[0]?.reply(0);
  t.equal(w.finished.length, 1);
});

test("transport_rate_delay", { recipientLimit: 1, transportRateDelay: 2 }, {}, (w, t) => {
  feed(w, "A", 2, "smtp");
  w.deliverer.connectAgents();
  t.equal(w.peers.length, 1);
  last(w).greet();
  t.equal(last(w).socket.sent.length, 0);
  w.time.advance(2);
  t.equal(last(w).socket.sent.length, 1);
  w.deliverer.connectAgents();
  t.equal(w.peers.length, 1, "not before the first is done");
  last(w).reply(0);
  w.deliverer.connectAgents();
  t.equal(w.peers.length, 2);
});

test(
  "destination_rate_delay",
  { recipientLimit: 1, concurrencyLimit: 1, initialConcurrency: 1, destinationRateDelay: 3 },
  {},
  (w, t) => {
    feed(w, "A", 2, "smtp");
    w.deliverer.connectAgents();
    last(w).greet();
    last(w).reply(0);
    w.deliverer.connectAgents();
    t.equal(w.peers.length, 1);
    w.time.advance(3);
    w.deliverer.connectAgents();
    t.equal(w.peers.length, 2);
    last(w).greet();
    last(w).reply(0);
    t.equal(w.finished.length, 1);
    w.time.advance(3);
    t.equal(w.manager.queueCount, 0);
  },
);

test("a slow socket takes the request in pieces", {}, {}, (w, t) => {
  feed(w, "A", 1, "smtp");
  w.deliverer.connectAgents();
  const { agent, socket } = last(w);
  socket.room = 100;
  last(w).greet();
  for (let i = 0; i < 20; i++) agent.onDrain();
  t.equal(decode(DeliveryRequest, Buffer.concat(socket.sent)).kind, "value");
});

test(
  "QMG-06 dead destinations are forgotten when there are too many",
  { concurrencyLimit: 1, initialConcurrency: 1 },
  { recipientLimit: 10 },
  (w, t) => {
    for (let i = 0; i < 100; i++) {
      feed(w, `M${i}`, 1, "smtp", () => `d${i}`);
      w.deliverer.connectAgents();
      last(w).greet();
      last(w).reply(-1, "4.4.1", "no route");
    }
    t.equal(w.finished.length, 100);
    t.ok(w.manager.queueCount <= 21, `${w.manager.queueCount} destinations in memory`);
    w.time.advance(301);
    t.equal(w.manager.queueCount, 0);
  },
);
