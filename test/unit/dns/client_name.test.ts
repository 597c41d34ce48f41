import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import t from "tap";
import { lookupHostName } from "../../../lib/dns/client_name.ts";
import { setHostsPath } from "../../../lib/dns/hosts_file.ts";
import { Resolver } from "../../../lib/dns/resolver.ts";
import { setLogSinks } from "../../../lib/log/log.ts";
import { FakeNameServer, reply } from "./fake_server.ts";

t.test("names of clients", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "dns-test-"));
  const hosts = join(directory, "hosts");
  writeFileSync(hosts, "127.0.0.1 localhost\n192.0.2.50\tlisted.example alias # comment\n");
  setHostsPath(hosts);
  const names: Readonly<{ [address: string]: string }> = {
    "1.2.0.192.in-addr.arpa": "good.example",
    "2.2.0.192.in-addr.arpa": "forged.example",
    "3.2.0.192.in-addr.arpa": "gone.example",
    "4.2.0.192.in-addr.arpa": "192.0.2.4",
    "5.2.0.192.in-addr.arpa": "bad\x1bname.example",
    "7.2.0.192.in-addr.arpa": "later.example",
  };
  const server = await new FakeNameServer((query) => {
    if (query.name === "6.2.0.192.in-addr.arpa" || query.name === "later.example")
      return reply(query, [], { flags: 0x0182 });
    const name = names[query.name];
    if (query.type === "PTR" && name !== undefined)
      return reply(query, [{ name: query.name, type: "PTR", data: name }]);
    if (query.name === "good.example")
      return reply(query, [{ name: query.name, type: "A", data: "192.0.2.1" }]);
    if (query.name === "forged.example")
      return reply(query, [{ name: query.name, type: "A", data: "192.0.2.99" }]);
    return reply(query, [], { flags: 0x0183 });
  }).start();
  const warnings: string[] = [];
  setLogSinks([(event) => warnings.push(event.text)]);
  t.teardown(() => {
    server.stop();
    setLogSinks([]);
    setHostsPath("/etc/hosts");
  });
  const dns = new Resolver({
    resolvConf: "/nonexistent",
    configuration: { servers: [{ address: "127.0.0.1", port: server.port }], timeout: 1, attempts: 1 },
  });
  const look = (address: string) => lookupHostName(address, dns);
  t.same(await look("192.0.2.1"), {
    name: "good.example",
    nameStatus: "ok",
    reverseName: "good.example",
    reverseStatus: "ok",
  });
  t.match(await look("192.0.2.2"), { name: "unknown", nameStatus: "forged", reverseName: "forged.example" });
  t.match(await look("192.0.2.3"), { name: "unknown", nameStatus: "forged", reverseName: "gone.example" });
  t.match(await look("192.0.2.4"), { name: "unknown", nameStatus: "permanent", reverseName: "unknown" });
  t.match(await look("192.0.2.5"), { name: "unknown", nameStatus: "permanent", reverseName: "unknown" });
  t.match(await look("192.0.2.6"), { name: "unknown", nameStatus: "temporary", reverseStatus: "temporary" });
  t.match(await look("192.0.2.7"), {
    name: "unknown",
    nameStatus: "temporary",
    reverseName: "later.example",
    reverseStatus: "ok",
  });
  t.match(await look("192.0.2.8"), { name: "unknown", nameStatus: "permanent" });
  t.match(await look("192.0.2.50"), { name: "listed.example", nameStatus: "ok" });
  t.match(await look("127.0.0.1"), { name: "localhost", nameStatus: "ok" });
  writeFileSync(hosts, "192.0.2.50\tother.example\n");
  // a file is looked at again after a while
  await setTimeout(300);
  t.match(await look("192.0.2.50"), { name: "other.example", nameStatus: "ok" }, "the file has changed");
  t.match(await look("not an address"), { name: "unknown", nameStatus: "permanent" });
  t.ok(warnings.includes("hostname forged.example does not resolve to address 192.0.2.2"));
  t.ok(
    warnings.includes(
      "hostname gone.example does not resolve to address 192.0.2.3: Name or service not known",
    ),
  );
  t.ok(warnings.includes("numeric hostname: 192.0.2.4"));
});
