/**
 * Queue files of every kind, each with what a real queue manager (3.11) logged, asked of its agents and asked of bounce(8)
 * (test/vectors/qmgr/envelopes.json). Transport `temp` and `retry` defer, `slow` is in defer_transports, `one` takes one recipient.
 */
import { readFileSync } from "node:fs";
import t from "tap";
import type { Resolution } from "../../../cmd/qmgr/bind.ts";
import { encodeRequest } from "../../../cmd/qmgr/request.ts";
import { decode } from "../../../lib/ipc/attributes.ts";
import { DeliveryRequest, Recipient } from "../../../lib/ipc/protocols/delivery.ts";
import { TRANSPORT } from "./fixture.ts";
import { world } from "./queue_fixture.ts";

interface Case {
  id: string;
  queue: string;
  mode: number;
  /** Time of the capture. */
  now: number;
  /** base64 */
  file: string;
  lines: string[];
  requests: Record<string, unknown>[];
  notices: string[];
}

/** Logs of an earlier attempt. */
const LOGS: Record<string, readonly [string, string]> = {
  AA0030: ["defer", "x\n"],
  AA0031: ["bounce", "x\n"],
  AA0032: ["bounce", ""],
  AA0033: ["bounce", "x\n"],
};

/** The resolver of the capture. */
function resolve(address: string): Resolution {
  const domain = address.slice(address.lastIndexOf("@") + 1);
  const flags = address.startsWith("fail")
    ? 8
    : address.startsWith("err")
      ? 4
      : domain.startsWith("local")
        ? 256
        : 4096;
  return {
    transport: domain.split(".").at(-2) ?? "smtp",
    nexthop: domain || "null",
    recipient: address,
    flags,
  };
}

/** A captured request to bounce(8), as the fixture describes one. */
function describeNotice(captured: string): string {
  const [service = "", ...words] = captured.split(/[ |]/);
  const value = (name: string): string => words[words.indexOf(name) + 1] ?? "";
  const id = value("queue_id");
  switch (value("nrequest")) {
    case "1":
      return `flush ${service} ${id} flags=${value("flags")}`;
    case "2":
      return `warn ${id}`;
    case "3":
      return `verp ${service} ${id} ${value("verp_delimiters")}`;
    default:
      return `trace ${id} flags=${value("flags")}`;
  }
}

const cases = JSON.parse(
  readFileSync(new URL("../../vectors/qmgr/envelopes.json", import.meta.url), "latin1"),
) as Case[];

for (const one of cases)
  t.test(one.id, async (t) => {
    const w = world({
      resolve,
      settings: {
        deferTransports: new Set(["slow"]),
        confirmDelayCleared: true,
        recipientDelimiter: "+",
      },
      transportFor: (name) => (name === "one" ? { ...TRANSPORT, recipientLimit: 1 } : TRANSPORT),
    });
    try {
      w.time.seconds = one.now;
      const log = LOGS[one.id];
      if (log !== undefined) w.put(log[0], one.id, Buffer.from(log[1]), 0o600);
      w.put(one.queue, one.id, Buffer.from(one.file, "base64"), one.mode);
      await w.feedAll();
      const requests: Record<string, unknown>[] = [];
      for (let round = 0; round < 3; round++)
        for (const name of [...w.manager.transportByName.keys()]) {
          const entries = await w.deliver(name, (entry) => {
            const bytes = Buffer.from(encodeRequest(entry), "latin1");
            requests.push({ transport: name, ...decodeRequest(bytes) });
            return name === "temp" || name === "retry" ? "defer" : "ok";
          });
          t.ok(entries.length >= 0);
        }
      await w.settle();
      const order = (request: Record<string, unknown>): string =>
        `${request.transport} ${(request.recipients as { recipient: string }[])[0]?.recipient}`;
      requests.sort((a, b) => (order(a) < order(b) ? -1 : 1));
      t.same(requests, one.requests, "requests");
      t.same(
        w.lines.map((line) => line.replace(/size=\d+, nrcpt/, "size=N, nrcpt")),
        one.lines,
        "log lines",
      );
      t.same(
        w.calls.filter((call) => !call.startsWith("discard")),
        one.notices.map(describeNotice),
        "notices",
      );
      t.equal(w.manager.messageCount, 0);
      t.equal(w.manager.recipientCount, 0);
    } finally {
      w.close();
    }
  });

function decodeRequest(bytes: Buffer): Record<string, unknown> {
  const request = decode(DeliveryRequest, bytes);
  if (request.kind !== "value") throw new Error(request.kind);
  const { queueName, queueId, time, offset, size, ...rest } = request.value;
  const recipients: unknown[] = [];
  let at = request.length;
  while (at < bytes.length) {
    const recipient = decode(Recipient, bytes.subarray(at));
    if (recipient.kind !== "value") throw new Error(recipient.kind);
    const { offset: record, ...fields } = recipient.value;
    recipients.push(fields);
    at += recipient.length;
  }
  return { ...rest, recipients };
}
