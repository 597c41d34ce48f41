import packet from "dns-packet";
import t from "tap";
import { Resolver } from "../../../lib/dns/resolver.ts";
import type { DnsResult } from "../../../lib/dns/types.ts";
import { setLogSinks } from "../../../lib/log/log.ts";
import { type Answer, FakeNameServer, reply } from "./fake_server.ts";

const NOWHERE = "/nonexistent/resolv.conf";

async function withServer(
  t: Tap.Test,
  answer: Answer,
  configuration: object = {},
): Promise<{ server: FakeNameServer; dns: Resolver }> {
  const server = await new FakeNameServer(answer).start();
  t.teardown(() => server.stop());
  const dns = new Resolver({
    resolvConf: NOWHERE,
    configuration: {
      servers: [{ address: "127.0.0.1", port: server.port }],
      timeout: 1,
      attempts: 1,
      ...configuration,
    },
  });
  return { server, dns };
}

declare namespace Tap {
  type Test = typeof t;
}

const reason = (result: DnsResult): string => (result.status === "found" ? "" : result.reason);
const data = (result: DnsResult): unknown =>
  result.status === "found" ? result.records.map(({ name, ttl, ...rest }) => rest) : result.status;

t.test("record types", async (t) => {
  const { dns, server } = await withServer(t as never, (query) => {
    const base = { name: query.name, ttl: 60 };
    switch (query.type) {
      case "A":
        return reply(query, [
          { ...base, type: "A", data: "192.0.2.1" },
          { ...base, type: "A", data: "192.0.2.2" },
        ]);
      case "AAAA":
        return reply(query, [{ ...base, type: "AAAA", data: "2001:db8::1:0:2" }]);
      case "MX":
        return reply(query, [
          { ...base, type: "MX", data: { preference: 20, exchange: "b.example" } },
          { ...base, type: "MX", data: { preference: 10, exchange: "a.example" } },
        ]);
      case "SRV":
        return reply(query, [
          { ...base, type: "SRV", data: { priority: 1, weight: 2, port: 2525, target: "mx.example" } },
        ]);
      case "TXT":
        return reply(query, [{ ...base, type: "TXT", data: [Buffer.from([0x61, 0xff]), Buffer.from("b")] }]);
      case "PTR":
        return reply(query, [{ ...base, type: "PTR", data: "host.example" }]);
      case "TLSA":
        return reply(query, [
          {
            ...base,
            type: "TLSA",
            data: { usage: 3, selector: 1, matchingType: 1, certificate: Buffer.from("ab") },
          },
        ]);
    }
    return reply(query, []);
  });
  t.same(data(await dns.lookup("x.example", "A")), [
    { type: "A", address: "192.0.2.1" },
    { type: "A", address: "192.0.2.2" },
  ]);
  t.same(data(await dns.lookup("x.example", "AAAA")), [{ type: "AAAA", address: "2001:db8::1:0:2" }]);
  t.same(data(await dns.lookup("x.example", "MX")), [
    { type: "MX", preference: 20, host: "b.example" },
    { type: "MX", preference: 10, host: "a.example" },
  ]);
  t.same(data(await dns.lookup("_s._tcp.x.example", "SRV")), [
    { type: "SRV", priority: 1, weight: 2, port: 2525, host: "mx.example" },
  ]);
  t.same(data(await dns.lookup("x.example", "TXT")), [{ type: "TXT", text: "a b" }]);
  t.same(data(await dns.lookup("1.2.0.192.in-addr.arpa", "PTR")), [{ type: "PTR", host: "host.example" }]);
  t.match(data(await dns.lookup("_25._tcp.x.example", "TLSA")), [
    { type: "TLSA", usage: 3, selector: 1, matching: 1 },
  ]);
  t.ok(new Set(server.queries.map((query) => query.id)).size > 3, "ids differ");
});

t.test("texts of failures", async (t) => {
  const code = new Map([
    ["nx.example", 3],
    ["servfail.example", 2],
    ["refused.example", 5],
    ["formerr.example", 1],
  ]);
  const { dns } = await withServer(t as never, (query) =>
    reply(query, [], { flags: 0x0180 | (code.get(query.name) ?? 0) }),
  );
  const text = async (name: string, type: "MX" | "A" = "MX"): Promise<string> =>
    reason(await dns.lookup(name, type));
  const head = "Host or domain name not found. Name service error for";
  t.equal(await text("nx.example"), `${head} name=nx.example type=MX: Host not found`);
  t.equal(
    await text("empty.example", "A"),
    `${head} name=empty.example type=A: Host found but no data record of requested type`,
  );
  t.equal(await text("servfail.example"), `${head} name=servfail.example type=MX: Host not found, try again`);
  t.equal(await text("refused.example"), `${head} name=refused.example type=MX: Host not found, try again`);
  t.equal(await text("formerr.example"), `${head} name=formerr.example type=MX: Non-recoverable error`);
  t.equal(await text("bad..name"), "Name service error for bad..name: invalid host or domain name");
});

t.test("CLI-07 answers without limit", async (t) => {
  const warnings: string[] = [];
  setLogSinks([(event) => warnings.push(event.text)]);
  t.teardown(() => setLogSinks([]));
  const { dns } = await withServer(t as never, (query) => {
    if (query.name.startsWith("many")) {
      if (query.transport === "udp") return reply(query, [], { flags: 0x0380 });
      return reply(
        query,
        Array.from({ length: 900 }, (_, index) => ({
          name: query.name,
          type: "MX",
          ttl: 1,
          data: { preference: index, exchange: `m${index}.example` },
        })),
      );
    }
    if (query.name.startsWith("ring"))
      return reply(query, [
        { name: query.name, type: "CNAME", data: "ring2.example" },
        { name: "ring2.example", type: "CNAME", data: query.name },
      ]);
    if (query.name.startsWith("chain")) {
      const next = `chain${Number(query.name.slice(5, -8)) + 1}.example`;
      return reply(query, [{ name: query.name, type: "CNAME", data: next }]);
    }
    return reply(query, [{ name: query.name, type: "CNAME", data: "other.example" }], {
      additionals: [{ name: "other.example", type: "A", data: "192.0.2.66" }],
    });
  });
  const many = await dns.lookup("many.example", "MX");
  t.equal(many.status === "found" && many.records.length, 100);
  t.match(warnings.join(), "DNS record count limit (100) exceeded");
  t.equal(reason(await dns.lookup("ring.example", "A")), "Name server loop for ring.example");
  t.equal((await dns.lookup("chain1.example", "A")).status, "cname-loop");
  t.not((await dns.lookup("extra.example", "A")).status, "found", "additional records are not used");
});

t.test("CLI-08 names in answers", async (t) => {
  const warnings: string[] = [];
  setLogSinks([(event) => warnings.push(event.text)]);
  t.teardown(() => setLogSinks([]));
  const targets: Readonly<{ [name: string]: string }> = {
    blank: "a b",
    nul: "a\0b",
    hyphen: "-a",
    star: "*.x",
    underscore: "_x",
    escape: "\x1b[2J\n",
    percent: "%s",
  };
  const { dns } = await withServer(t as never, (query) => {
    const [label = ""] = query.name.split(".");
    if (label === "null")
      return reply(query, [{ name: query.name, type: "MX", data: { preference: 0, exchange: "." } }]);
    return reply(query, [
      { name: query.name, type: "MX", data: { preference: 5, exchange: targets[label] ?? "x" } },
    ]);
  });
  t.equal((await dns.lookup("blank.example", "MX")).status, "malformed");
  t.equal((await dns.lookup("nul.example", "MX")).status, "malformed");
  t.equal((await dns.lookup("hyphen.example", "MX")).status, "malformed");
  t.equal((await dns.lookup("percent.example", "MX")).status, "malformed");
  t.equal((await dns.lookup("escape.example", "MX")).status, "malformed");
  t.equal((await dns.lookup("star.example", "MX")).status, "found");
  t.equal((await dns.lookup("underscore.example", "MX")).status, "found");
  t.equal(
    reason(await dns.lookup("null.example", "MX")),
    "Domain null.example does not accept mail (nullMX)",
  );
  t.ok(warnings.length >= 5);
  t.notOk(
    warnings.some((line) => /[^ -~]/.test(line)),
    "no control characters in the log",
  );
});

t.test("CLI-09 what a resolver should not accept", async (t) => {
  const good = { type: "A", ttl: 1, data: "192.0.2.1" };
  const { dns, server } = await withServer(t as never, (query) => {
    const right = packet.encode(reply(query, [{ ...good, name: query.name }]));
    const wrongId = packet.encode({
      ...reply(query, [{ ...good, name: query.name, data: "192.0.2.66" }]),
      id: query.id ^ 1,
    });
    const wrongName = packet.encode({
      ...reply(query, [{ ...good, name: "evil.example" }]),
      questions: [{ name: "evil.example", type: "A" }],
    });
    const wrongType = packet.encode({ ...reply(query, []), questions: [{ name: query.name, type: "MX" }] });
    switch (query.name) {
      case "forged.example":
        return [wrongId, wrongName, wrongType, Buffer.from("garbage"), right];
      case "only-forged.example":
        return [wrongId, wrongName];
      case "truncated.example":
        return query.transport === "udp"
          ? reply(query, [], { flags: 0x0380 })
          : reply(query, [{ ...good, name: query.name }]);
      case "no-edns.example":
        return (query.packet.additionals?.length ?? 0) > 0
          ? reply(query, [], { flags: 0x0181 })
          : reply(query, [{ ...good, name: query.name }]);
      case "silent.example":
        return undefined;
      case "cut.example":
        return right.subarray(0, right.length - 2);
    }
    return reply(query, []);
  });
  t.same(data(await dns.lookup("forged.example", "A")), [{ type: "A", address: "192.0.2.1" }]);
  t.equal((await dns.lookup("only-forged.example", "A")).status, "retry");
  t.same(
    data(await dns.lookup("truncated.example", "A")),
    [{ type: "A", address: "192.0.2.1" }],
    "TCP after truncation",
  );
  t.same(
    data(await dns.lookup("no-edns.example", "A")),
    [{ type: "A", address: "192.0.2.1" }],
    "without EDNS after FORMERR",
  );
  t.equal((await dns.lookup("silent.example", "A")).status, "retry");
  t.equal((await dns.lookup("cut.example", "A")).status, "malformed");
  t.ok(server.queries.length > 6);
});

t.test("several servers, search lists", async (t) => {
  const { server } = await withServer(t as never, (query) =>
    query.name === "host.sub.example"
      ? reply(query, [{ name: query.name, type: "A", data: "192.0.2.9" }])
      : reply(query, [], { flags: 0x0183 }),
  );
  const dns = new Resolver({
    resolvConf: NOWHERE,
    configuration: {
      servers: [
        { address: "127.0.0.1", port: 1 },
        { address: "127.0.0.1", port: server.port },
      ],
      timeout: 1,
      attempts: 1,
      search: ["nothing.example", "sub.example"],
    },
  });
  t.equal((await dns.lookup("host", "A")).status, "not-found", "as it is");
  t.equal((await dns.lookup("host", "A", { searchList: true, defaultNames: true })).status, "found");
  t.equal((await dns.lookup("host", "A", { searchList: true })).status, "not-found", "names with dots only");
  t.equal(
    (await dns.lookup("host", "A", { defaultNames: true })).status,
    "not-found",
    "the first domain only",
  );
  t.equal(
    (await dns.lookup("host.", "A", { searchList: true, defaultNames: true })).status,
    "not-found",
    "a final dot stops the search",
  );
});

t.test("reply filter", async (t) => {
  const { dns } = await withServer(t as never, (query) =>
    reply(query, [
      { name: query.name, type: "A", ttl: 5, data: "192.0.2.1" },
      { name: query.name, type: "A", ttl: 5, data: "192.0.2.2" },
    ]),
  );
  const kept = await dns.lookup("x.example", "A", {
    replyFilter: async (record) => (record.type === "A" && record.address === "192.0.2.1" ? "drop" : "keep"),
  });
  t.same(data(kept), [{ type: "A", address: "192.0.2.2" }]);
  t.equal(
    reason(await dns.lookup("x.example", "A", { replyFilter: async () => "drop" })),
    "Error looking up name=x.example type=A: DNS reply filter drops all results",
  );
});
