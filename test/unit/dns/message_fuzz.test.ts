/** Hostile packets: whatever arrives, decoding ends, within bounds and without an exception. */
import packet from "dns-packet";
import t from "tap";
import { decodeMessage } from "../../../lib/dns/message.ts";
import { parseResolvConf } from "../../../lib/dns/resolv_conf.ts";
import { orderServices, shuffle } from "../../../lib/dns/servers.ts";

/** A small generator with a fixed seed, so that a failure can be repeated. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

t.test("mutations of good answers", (t) => {
  const next = random(42);
  const good = packet.encode({
    type: "response",
    id: 1,
    flags: 0x0180,
    questions: [{ name: "example.com", type: "MX" }],
    answers: [
      { name: "example.com", type: "MX", ttl: 60, data: { preference: 10, exchange: "mx.example.com" } },
      { name: "example.com", type: "TXT", ttl: 60, data: ["some text"] },
      { name: "mx.example.com", type: "A", ttl: 60, data: "192.0.2.1" },
      { name: "mx.example.com", type: "AAAA", ttl: 60, data: "2001:db8::1" },
    ],
    authorities: [
      { name: "example.com", type: "SOA", ttl: 5, data: { mname: "a.b", rname: "c.d", minimum: 7 } },
    ],
  });
  t.equal(decodeMessage(good)?.answers.length, 4);
  t.equal(decodeMessage(good)?.negativeTtl, 5);
  for (let round = 0; round < 20_000; round++) {
    const bytes = Buffer.from(good.subarray(0, Math.floor(next() * (good.length + 1))));
    for (let change = 0; change < 3 && bytes.length > 0; change++)
      bytes[Math.floor(next() * bytes.length)] = Math.floor(next() * 256);
    const message = decodeMessage(bytes);
    if ((message?.answers.length ?? 0) > 1000) t.fail("too many answers");
  }
  t.end();
});

t.test("compression tricks", (t) => {
  const header = Buffer.from([0, 1, 0x81, 0x80, 0, 1, 0xff, 0xff, 0, 0, 0, 0]);
  const selfPointer = Buffer.concat([header, Buffer.from([0xc0, 12, 0, 1, 0, 1])]);
  t.equal(decodeMessage(selfPointer)?.wellFormed, false);
  const forward = Buffer.concat([header, Buffer.from([0xc0, 20, 0, 1, 0, 1])]);
  t.equal(decodeMessage(forward)?.wellFormed, false);
  const long = Buffer.concat([
    header,
    ...Array.from({ length: 10 }, () => Buffer.concat([Buffer.from([63]), Buffer.alloc(63, 0x61)])),
    Buffer.from([0]),
  ]);
  t.equal(decodeMessage(long)?.wellFormed, false, "a name of more than 255 bytes");
  const big = Buffer.alloc(65535, 0xc0);
  header.copy(big);
  const start = performance.now();
  t.equal(decodeMessage(big)?.wellFormed, false);
  t.ok(performance.now() - start < 500);
  t.equal(decodeMessage(Buffer.alloc(5)), undefined);
  t.end();
});

t.test("labels keep their bytes", (t) => {
  const header = Buffer.from([0, 1, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0]);
  const name = Buffer.from([5, 0x61, 0x2e, 0x62, 0xff, 0x5c, 0]);
  const message = decodeMessage(Buffer.concat([header, name, Buffer.from([0, 1, 0, 1])]));
  t.equal(message?.question?.name, "a\\.b\\255\\\\");
  t.end();
});

t.test("JS-30 order of servers", (t) => {
  const record = (priority: number, weight: number, port: number) =>
    ({ type: "SRV", name: "x", ttl: 1, host: "h", priority, weight, port }) as const;
  const first = new Map<number, number>();
  for (let round = 0; round < 4000; round++) {
    const [best] = orderServices([record(1, 30, 1), record(1, 10, 2), record(2, 99, 3), record(1, 0, 4)]);
    first.set(best?.port ?? 0, (first.get(best?.port ?? 0) ?? 0) + 1);
  }
  t.notOk(first.has(3), "a worse priority is never first");
  const ratio = (first.get(1) ?? 0) / (first.get(2) ?? 1);
  t.ok(ratio > 2.4 && ratio < 3.7, `weights 30:10 gave ${ratio}`);
  const seen = new Set<string>();
  for (let round = 0; round < 500; round++) seen.add(shuffle([1, 2, 3]).join(""));
  t.equal(seen.size, 6, "every order occurs");
  t.end();
});

t.test("resolv.conf", (t) => {
  const parsed = parseResolvConf(
    "# comment\nnameserver 192.0.2.1\nnameserver bad\nnameserver ::1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nsearch a.example b.example.\noptions ndots:3 timeout:99 attempts:2 rotate\n",
  );
  t.same(
    parsed.servers.map(({ address }) => address),
    ["192.0.2.1", "::1", "192.0.2.2"],
  );
  t.same(parsed.search, ["a.example", "b.example"]);
  t.match(parsed, { ndots: 3, timeout: 30, attempts: 2, rotate: true });
  t.same(parseResolvConf("").servers, [{ address: "127.0.0.1", port: 53 }]);
  t.end();
});
