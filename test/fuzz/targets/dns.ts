/** DNS answers: any bytes are a bounded answer or none. */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { decodeMessage, encodeQuery } from "../../../lib/dns/message.ts";
import type { Target } from "../runner.ts";

const packet = createRequire(import.meta.url)("dns-packet") as { encode(message: object): Buffer };
const answer = (type: string, data: unknown): Buffer =>
  packet.encode({
    type: "response",
    id: 1,
    flags: 0x8180,
    questions: [{ type, name: "a.example.com" }],
    answers: [
      { type: "CNAME", name: "a.example.com", ttl: 60, data: "b.example.com" },
      { type, name: "b.example.com", ttl: 60, data },
    ],
    authorities: [
      {
        type: "SOA",
        name: "example.com",
        ttl: 60,
        data: {
          mname: "ns.example.com",
          rname: "x.example.com",
          serial: 1,
          refresh: 1,
          retry: 1,
          expire: 1,
          minimum: 1,
        },
      },
    ],
  });

export const dns: Target = {
  name: "dns",
  seeds: [
    answer("A", "192.0.2.1"),
    answer("AAAA", "2001:db8::1"),
    answer("MX", { preference: 10, exchange: "mx.example.com" }),
    answer("TXT", ["some text", "more"]),
    answer("PTR", "host.example.com"),
    answer("SRV", { priority: 1, weight: 2, port: 25, target: "mx.example.com" }),
    answer("NS", "ns.example.com"),
    answer("TLSA", { usage: 3, selector: 1, matchingType: 1, certificate: Buffer.alloc(32) }),
    encodeQuery(1, "example.com", "MX", { edns: true, dnssec: true }),
  ],
  words: [
    "\xc0\x0c",
    "\xc0\x00",
    "\xc0\xff",
    "\x3f",
    "\x00",
    "\x00\x01\x00\x01",
    "\x00\x0f\x00\x01",
    "\x01a",
    "\x40",
  ],
  check(input) {
    const message = decodeMessage(input);
    if (message === undefined) return;
    assert.ok(message.answers.length <= input.length);
    assert.ok(JSON.stringify(message.answers).length < 3_000_000);
  },
};
