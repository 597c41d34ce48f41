/** The parts of the client that need no network: replies, features, commands, content, destinations, kept sessions. */
import t from "tap";
import { ContentWriter } from "../../../cmd/smtp/content_writer.ts";
import { destinationList, splitHostPort } from "../../../cmd/smtp/destination.ts";
import { wrapLine } from "../../../cmd/smtp/notice.ts";
import { orderServers, type Server } from "../../../cmd/smtp/servers.ts";
import { SessionCache } from "../../../cmd/smtp/session_cache.ts";
import { setLogSinks } from "../../../lib/log/log.ts";
import { orcptParameter, UnsafeCommand, xforwardText } from "../../../lib/smtp/client_command.ts";
import { featureBits, featuresOfBits, parseFeatures } from "../../../lib/smtp/client_features.ts";
import { CommandPipeline } from "../../../lib/smtp/client_pipeline.ts";
import { readReply, type ServerReply, statusOfReply } from "../../../lib/smtp/client_reply.ts";
import { SmtpSession } from "../../../lib/smtp/client_session.ts";
import { Channel } from "../../../lib/sys/channel.ts";

const rules = { peer: "peer", lineLimit: 100, utf8: true };

/** A channel that has received this text, cut into pieces, and then the end. */
function received(text: string, cut: number[] = []): Channel {
  const channel = new Channel("test", 1);
  let from = 0;
  for (const at of [...cut, text.length]) {
    channel.onData(Buffer.from(text.slice(from, at), "latin1"));
    from = at;
  }
  channel.onEnd();
  return channel;
}

t.test("replies", async (t) => {
  const parse = async (text: string): Promise<ServerReply> => readReply(received(text), rules);
  t.match(await parse("250 ok\r\n"), { code: 250, text: "250 ok", status: "2.0.0" });
  t.match(await parse("250-a\r\n250 2.1.0 b\r\n"), {
    code: 250,
    text: "250-a\n250 2.1.0 b",
    status: "2.1.0",
  });
  t.match(await parse("450\n"), { code: 450, text: "450", status: "4.0.0" });
  t.match(await parse("junk\r\n4501 x\r\n550 5.1.1 no\r\n"), { code: 550, status: "5.1.1" });
  t.match(await parse("550 \xc3\xa9\x01\xff\r\n"), { text: "550 \xc3\xa9??" });
  t.match(await parse(`250 ${"x".repeat(5000)}\r\n`), { text: `250 ${"x".repeat(96)}` });
  await t.rejects(parse("250-a\r\n"), { name: "ConnectionLost" });
  await t.rejects(parse(""), { name: "ConnectionLost" });
  await t.rejects(parse("220-x\r\n".repeat(200_000)), { name: "ConnectionLost" }, "endless");
  t.equal(statusOfReply("550 4.1.1 x"), "5.0.0");
  t.equal(statusOfReply("354 go"), "5.5.0");
  t.equal(statusOfReply("250 2.1234.5 x"), "2.0.0");
});

t.test("replies in any pieces, and noise", async (t) => {
  setLogSinks([]);
  const text = "220-one\r\n220 two\r\n250-PIPELINING\r\n250 2.0.0 ok\r\n554 5.7.1 no\r\n";
  for (let at = 0; at < text.length; at++) {
    const channel = received(text, [at, Math.min(text.length, at + 3)]);
    const codes: number[] = [];
    for (let i = 0; i < 3; i++) codes.push((await readReply(channel, rules)).code);
    t.same(codes, [220, 250, 554]);
  }
  let state = 7;
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  for (let round = 0; round < 3000; round++) {
    const noise = Array.from({ length: Math.floor(next() * 300) }, () =>
      next() < 0.2
        ? "\n"
        : String.fromCharCode(next() < 0.5 ? 48 + Math.floor(next() * 10) : Math.floor(next() * 256)),
    ).join("");
    try {
      const reply = await readReply(received(noise), rules);
      if (!(reply.code >= 0 && reply.code <= 999) || reply.text.length > 400) t.fail(JSON.stringify(noise));
    } catch (error) {
      if (!(error instanceof Error) || error.name !== "ConnectionLost") throw error;
    }
  }
});

t.test("features", (t) => {
  const reply =
    "250-host.example Hello\n250-SIZE 1000\n250-size\n250-AUTH=LOGIN plain\n250-AUTH PLAIN X\n250-XFORWARD NAME addr FOO\n250-__proto__ 1\n250 pipelining";
  const features = parseFeatures(reply, new Set(["XFORWARD"]));
  t.same([...features.keywords].sort(), ["AUTH", "PIPELINING", "SIZE"]);
  t.match(features, {
    sizeLimit: 1000,
    serverName: "host.example",
    auth: ["LOGIN", "plain", "X"],
    badSizes: [],
  });
  t.same(parseFeatures("250-x\n250 SIZE 12x").badSizes, ["12x"]);
  const full = parseFeatures(reply);
  const again = featuresOfBits(featureBits(full));
  t.same([...again.keywords].sort(), [...full.keywords].sort());
  t.same(again.xforward, full.xforward);
  t.end();
});

t.test("CLI-05 parameters of commands", (t) => {
  t.equal(orcptParameter({ recorded: "rfc822;u+x@x", original: "" }), " ORCPT=rfc822;u+2Bx@x");
  t.equal(orcptParameter({ recorded: "", original: "a=b c@x" }), " ORCPT=rfc822;a+3Db+20c@x");
  t.equal(orcptParameter({ recorded: "", original: "j\xc3\xb6@x" }), " ORCPT=utf-8;j\\x{F6}@x");
  t.equal(orcptParameter({ recorded: "", original: "" }), undefined);
  t.throws(() => orcptParameter({ recorded: "rfc\r\n822;x", original: "" }), UnsafeCommand);
  t.equal(xforwardText("a=b c+\n"), "a=b+20c+2B+0A");
  t.end();
});

t.test("groups of commands", async (t) => {
  const sent: string[] = [];
  const replies = ["250 1", "250 2", "354 3"];
  const seen: string[] = [];
  const conversation = {
    command: (line: string) => sent.push(line),
    flush: async () => {
      sent.push("|");
    },
    reply: async (): Promise<ServerReply> => {
      const text = replies.shift() ?? "421 none";
      return { code: Number(text.slice(0, 3)), text, status: "2.0.0" };
    },
  };
  const pipe = new CommandPipeline<string>(
    conversation as never,
    true,
    (tag, reply) => void seen.push(`${tag} ${reply.code}`),
    () => undefined,
  );
  for (const command of ["MAIL", "RCPT", "DATA"]) {
    t.notOk(pipe.mustCollect(command));
    pipe.add(command, command, 1);
  }
  t.ok(pipe.mustCollect("x".repeat(4096)), "a group has a limit");
  await pipe.collect();
  t.same(sent, ["MAIL", "RCPT", "DATA", "|"]);
  t.same(seen, ["MAIL 250", "RCPT 250", "DATA 354"]);
  const single = new CommandPipeline<string>(
    conversation as never,
    false,
    () => undefined,
    () => undefined,
  );
  single.add("a", "a", 1);
  t.ok(single.mustCollect("b"), "one by one without PIPELINING");
});

t.test("content", (t) => {
  const write = (lines: ReadonlyArray<string>, limit = 998): string => {
    const writer = new ContentWriter(limit, () => undefined);
    for (const line of lines) writer.line(line);
    const text = writer.take().toString("latin1");
    writer.release();
    return text;
  };
  t.equal(write(["a", ".", "..b", "", "\xff\0"]), "a\r\n..\r\n...b\r\n\r\n\xff\0\r\n");
  t.equal(write(["0123456789", "01234567890"], 10), "0123456789\r\n0123456789\r\n 0\r\n");
  t.equal(write([".123456789.b"], 10), "..123456789\r\n .b\r\n");
  t.equal(write(["abc"], 1), "a\r\n b\r\n c\r\n");
  t.equal(write(["x".repeat(5000)], 0), `${"x".repeat(5000)}\r\n`);
  const pieces = new ContentWriter(5, () => undefined);
  for (const piece of ["abc", "", "def", "g"]) pieces.add(Buffer.from(piece), false);
  pieces.endPiece();
  t.equal(pieces.take().toString(), "abcde\r\n fg\r\n");
  const huge = new ContentWriter(998, () => undefined);
  huge.add(Buffer.alloc(3_000_000, 0x61), true);
  t.equal(huge.take().toString().replaceAll("\r\n ", "").length, 3_000_002);
  t.end();
});

t.test("destinations", (t) => {
  const parse = (text: string): string => {
    const parts = splitHostPort(text, "smtp");
    return parts.kind === "bad" ? parts.message : `${parts.host} ${parts.service} ${parts.literal}`;
  };
  t.equal(parse("host.example"), "host.example smtp false");
  t.equal(parse("[host.example]:587"), "host.example 587 true");
  t.equal(parse("[IPv6:2001:db8::1]"), "2001:db8::1 smtp true");
  t.equal(parse("2001:db8::1"), "2001:db8::1 smtp false");
  t.equal(parse("[x"), 'missing "]"');
  t.equal(parse("[x]y"), 'garbage after "]"');
  t.equal(parse("x:"), "missing service name");
  t.equal(parse(":25"), "missing host name");
  t.same(
    destinationList("a, b\tc", "d").map(({ text, fallback }) => `${text} ${fallback}`),
    ["a false", "b false", "c false", "d true"],
  );
  t.end();
});

t.test("order of servers", (t) => {
  const server = (family: "ipv4" | "ipv6", preference: number): Server => ({
    family,
    address: `${family}${preference}`,
    host: "h",
    port: 25,
    preference,
  });
  const get = ((name: string) => name === "balance_inet_protocols") as never;
  const order = (servers: Server[], preferred?: "ipv4" | "ipv6", limit = 5): string =>
    orderServers(servers, { addressPreference: preferred, get, addressLimit: limit })
      .map(({ address }) => address)
      .join(" ");
  t.equal(
    order([server("ipv4", 20), server("ipv6", 10), server("ipv4", 10)], "ipv4"),
    "ipv410 ipv610 ipv420",
  );
  t.equal(order([server("ipv4", 10), server("ipv6", 10)], "ipv6"), "ipv610 ipv410");
  const six = Array.from({ length: 6 }, (_, index) => server("ipv6", index));
  t.equal(order([...six, server("ipv4", 9)]), "ipv60 ipv61 ipv62 ipv63 ipv49");
  t.equal(
    order([...six, server("ipv4", 7), server("ipv4", 8), server("ipv4", 9)]),
    "ipv60 ipv61 ipv62 ipv47 ipv48",
  );
  t.end();
});

t.test("transcripts are wrapped", (t) => {
  t.same(wrapLine(" In:  220 x"), [" In:  220 x"]);
  const lines = wrapLine(` Out: ${"word ".repeat(40)}end`);
  t.ok(lines.every((line) => line.length <= 78));
  t.ok(lines.slice(1).every((line) => line.startsWith("    ")));
  t.same(
    wrapLine("x".repeat(100)).map((line) => line.length),
    [78, 26],
  );
  t.end();
});

t.test("kept sessions", async (t) => {
  const cache = new SessionCache();
  const make = () => {
    const channel = new Channel("x");
    channel.attach({
      write: (bytes) => bytes.length,
      end: () => undefined,
      terminate: () => undefined,
      pause: () => undefined,
      resume: () => undefined,
    });
    return new SmtpSession(channel, { host: "h", address: "a", port: 1 }, { ...rules, transcript: false });
  };
  const other = { host: "other", address: "a", port: 1 };
  const first = make();
  const second = make();
  cache.save({ nexthop: "n", session: first, endpoint: "E", destination: "D" }, 10);
  cache.save({ nexthop: "n", session: second, endpoint: "E", destination: undefined }, 10);
  t.equal(cache.takeByDestination("D"), first, "oldest first, by destination");
  t.equal(cache.takeByDestination("D"), undefined, "once");
  t.equal(cache.takeByEndpoint("E", other), second);
  t.equal(second.peer.host, "other", "by the name that the destination has for it");
  const noisy = make();
  cache.save({ nexthop: "n", session: noisy, endpoint: "E", destination: "D" }, 10);
  noisy.channel.onData(Buffer.from("421 bye\r\n"));
  t.equal(cache.takeByEndpoint("E", other), undefined, "not when the server has spoken");
  const busy = make();
  const { channel } = busy;
  const { onceClosed } = channel;
  let watching = 0;
  channel.onceClosed = (listener) => {
    watching++;
    const stop = onceClosed.call(channel, listener);
    return () => {
      watching--;
      stop();
    };
  };
  for (let times = 0; times < 1000; times++) {
    cache.save({ nexthop: "n", session: busy, endpoint: "E", destination: "D" }, 10);
    t.equal(cache.takeByEndpoint("E", other), busy);
  }
  t.equal(watching, 0, "nothing is left behind each time");
  const gone = make();
  cache.save({ nexthop: "n", session: gone, endpoint: "E", destination: "D" }, 10);
  gone.channel.onClose();
  t.equal(cache.takeByDestination("D"), undefined, "not when the server has gone");
  const late = make();
  cache.save({ nexthop: "n", session: late, endpoint: "E", destination: "D" }, 0.02);
  await new Promise((later) => setTimeout(later, 60));
  t.equal(cache.takeByEndpoint("E", other), undefined, "not after its time");
  t.ok(late.channel.closed);
  cache.save({ nexthop: "n", session: make(), endpoint: "__proto__", destination: "D" }, 10);
  t.ok(cache.takeByEndpoint("__proto__", other));
  cache.clear();
});
