import { connect } from "node:net";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { mixedInstance } from "../interop/support/mixed.ts";
import { reference } from "../interop/support/reference.ts";
import { runningInstance } from "./support/harness.ts";
const programs = reference() as any;
function exchange(path: string, payload: Buffer, half: boolean): Promise<string> {
  return new Promise((resolve) => {
    let got = "";
    const s = connect({ path, allowHalfOpen: true } as any);
    s.on("data", (d) => { got += d.toString("latin1"); });
    s.on("error", (e) => { got += `!${(e as any).code}`; });
    s.on("close", () => resolve(got));
    s.on("end", () => s.end());
    s.write(payload);
    if (half) s.end();
    setTimeout(() => s.destroy(), 500);
  });
}
const B = (x: string) => Buffer.from(x, "latin1");
const payloads: [string, Buffer][] = [
  ["empty", B("")], ["garbage", B("\x01\x02\xff\xfe garbage\r\nmore")], ["garbage0", B("garbage\0more\0\0")], ["nuls", B("\0\0\0\0")], ["name only", B("request\0")],
  ["unterminated", B("request\0xxx")], ["wrong request", B("request\0nonsense\0\0")], ["number", B("nrequest\0banana\0\0")], ["nrequest", B("nrequest\x000\0\0")], ["nrequest9", B("nrequest\x0099\0\0")], ["flags", B("flags\x000\0\0")],
  ["flags bad", B("flags\0-1x\0\0")], ["long", B(`request\0${"x".repeat(200000)}\0\0`)], ["http", B("GET / HTTP/1.0\r\n\r\n")],
  ["rewrite", B("request\0rewrite\0\0")], ["resolve", B("request\0resolve\0sender\0\0\0")], ["rewrite ok+garbage", B("request\0rewrite\0rule\0local\0address\0a\0\0zzz")], ["rewrite badrule", B("request\0rewrite\0rule\0nope\0address\0a\0\0")],
  ["lookup", B("request\0lookup\0table\0texthash:/etc/passwd\0flags\x000\0key\0root\0\0")], ["open", B("request\0open\0table\0texthash:/etc/passwd\0flags\x000\0\0")],["open bad", B("request\0open\0table\0nonsense\0flags\x000\0\0")],
  ["connect", B("request\0connect\0ident\0x\0\0")], ["status", B("request\0status\0ident\0x\0\0")], ["ident missing", B("request\0connect\0\0")],
  ["bounce append", B("nrequest\x000\0flags\x000\0queue_id\0../../etc\0\0")], ["bounce append2", B("nrequest\x000\0flags\x000\0queue_id\0ABCDEF123456\0original_recipient\0\0recipient\0a@b\0offset\0-5\0dsn_orig_rcpt\0\0\0")],
  ["flush add", B("request\0add\0site\0../../x\0queue_id\0../../y\0\0")], ["flush send", B("request\0send_site\0site\0a.b\0\0")], ["flush purge", B("request\0purge\0\0")], ["flush refresh", B("request\0refresh\0\0")],
  ["delivery", B("flags\x000\0queue_name\0active\0queue_id\0../../../etc/passwd\0offset\x000\0size\x000\0\0")], ["delivery2", B("flags\x000\0queue_name\0active\0queue_id\0ABCDEF123456\0offset\x000\0size\x000\0nexthop\0x\0encoding\x008bit\0sendopts\x000\0sender\0a@b\0envelope_id\0\0ret_flags\x000\0\0")],
];
const skip = new Set((process.env.SKIP ?? "").split(" "));
t.test("x", { timeout: 500_000 }, async (t) => {
  const ours = process.env.WHO === "ours";
  const cf = "fast_flush_domains = a.b\nipc_timeout = 3s\n";
  const instance = ours ? await runningInstance(t, { mainCf: cf }) : await mixedInstance(t, programs, { base: "real", swapped: [] }, cf);
  const out: string[] = [];
  let at = 0;
  for (const service of ["private/rewrite", "private/bounce", "private/defer", "private/trace", "private/proxymap", "private/proxywrite", "private/anvil", "public/flush", "public/showq", "public/cleanup", "private/local", "private/smtp", "private/error", "private/discard", "private/virtual", "public/qmgr", "public/pickup"]) {
    for (const [name, payload] of payloads) for (const half of [true]) {
      const got = await exchange(join(instance.queue, service), payload, half);
      await new Promise((r) => setTimeout(r, 30));
      out.push(`## ${service} <- ${name}: ${JSON.stringify(got.slice(0, 300)).replace(/[0-9A-F]{10,12}/g, "ID")}`);
      const log = instance.maillog(); const text = log.slice(at); at = log.length;
      for (const line of text.split("\n")) if (line) out.push("   " + line.replace(/^\S+ +\d+ \S+ \S+ /, "").replace(/\[\d+\]/, "").replace(/[0-9A-F]{10,12}/g, "ID"));
    }
  }
  writeFileSync(`/tmp/hostile/ipc.${process.env.WHO}`, out.join("\n") + "\n");
});
