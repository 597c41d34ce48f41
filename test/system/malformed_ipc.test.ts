/** Attributes and records that make no sense, on every socket of the queue directory. The replies and log lines were seen on a real Postfix. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { logged, NEEDS_ROOT, queueFiles, runningInstance, until } from "./support/harness.ts";
import {
  bytes,
  crashes,
  damaged,
  exchange,
  linesAfter,
  randomBytes,
  randomSource,
  stillWorks,
} from "./support/hostile.ts";

const MAIN_CF = (directory: string): string =>
  `fast_flush_domains = a.b\nipc_timeout = 5s\nvirtual_mailbox_base = ${directory}/mail\nproxy_read_maps = texthash:/etc/passwd\n`;

const list = (...words: ReadonlyArray<string | number>): Buffer => bytes(`${words.join("\0")}\0\0`);
const DELIVERY = "protocol\0delivery_request_protocol\0\0";
const FAILED_DELIVERY = `${DELIVERY}status\0\0diag_type\0\0diag_text\0\0mta_type\0\0mta_mname\0\0action\0\0reason\0\0status\x004294967295\0\0`;
const BOUNCE = "protocol\0delivery_status_protocol\0\0";
const PROXYMAP = "protocol\0proxymap_protocol\0\0";
const SCACHE = "protocol\0connection_cache_protocol\0\0";
const FLUSH = "protocol\0queue_flush_protocol\0\0";
const LONG = "x".repeat(200_000);

/** Socket, input, reply, log lines. */
const CASES: ReadonlyArray<readonly [string, Buffer, string, ReadonlyArray<string>]> = [
  // half of a request that is not known: said once, not for ever
  [
    "private/verify",
    bytes("request\0lookup\0table"),
    "protocol\0address_verification_prrotocol\0\0status\x004294967294\0\0",
    [
      'verify: warning: unrecognized request: "lookup", ignored',
      "verify: warning: unexpected end-of-input from verify socket while reading input attribute name",
    ],
  ],
  [
    "private/rewrite",
    bytes("garbage"),
    "protocol\0trivial_rewrite_protocol\0\0",
    [
      "trivial-rewrite: warning: unexpected end-of-input from rewrite socket while reading input attribute name",
    ],
  ],
  [
    "private/rewrite",
    bytes("request\0"),
    "protocol\0trivial_rewrite_protocol\0\0",
    [
      "trivial-rewrite: warning: premature end-of-input on rewrite socket while reading input attribute value",
    ],
  ],
  [
    "private/rewrite",
    bytes("request\0xxx"),
    "protocol\0trivial_rewrite_protocol\0\0",
    [
      "trivial-rewrite: warning: unexpected end-of-input from rewrite socket while reading input attribute value",
    ],
  ],
  [
    "private/rewrite",
    list("request", LONG),
    "protocol\0trivial_rewrite_protocol\0\0",
    [`trivial-rewrite: warning: bad command ${"x".repeat(30)}`],
  ],
  [
    "private/rewrite",
    list("request", "rewrite", "rule", "nope", "address", "a"),
    "protocol\0trivial_rewrite_protocol\0\0",
    ["trivial-rewrite: warning: unknown context: nope"],
  ],
  [
    "private/bounce",
    bytes("garbage"),
    `${BOUNCE}status\x004294967295\0\0`,
    [
      "bounce: warning: unexpected end-of-input from bounce socket while reading input attribute name",
      "bounce: warning: malformed request",
    ],
  ],
  [
    "private/proxymap",
    list("request", "lookup", "table", "texthash:/etc/passwd", "flags", 0, "key", "x"),
    `${PROXYMAP}status\x003\0flags\x000\0value\0\0\0`,
    ["proxymap: warning: unexpected attribute flags from proxymap socket (expecting: instance_flags)"],
  ],
  [
    "private/proxymap",
    list("request", "open", "table", "nonsense", "flags", 0),
    `${PROXYMAP}status\x003\0flags\x000\0\0`,
    ["proxymap: warning: unexpected attribute flags from proxymap socket (expecting: instance_flags)"],
  ],
  [
    "private/proxymap",
    list("request", "nonsense", "more", "x"),
    `${PROXYMAP}status\x003\0\0`,
    ['proxymap: warning: unrecognized request: "nonsense", ignored'],
  ],
  [
    "private/scache",
    list("request", "open"),
    `${SCACHE}status\x001\0\0`,
    ['scache: warning: unrecognized request: "open", ignored'],
  ],
  [
    "private/scache",
    list("request", "find_endp", "nonsense", "x"),
    `${SCACHE}status\x001\0property\0\0\0`,
    [
      "scache: warning: unexpected attribute nonsense from scache socket (expecting: label)",
      "scache: warning: scache_find_endp_service: bad or missing request parameter",
    ],
  ],
  [
    "private/scache",
    list("request", "save_endp", "ttl", 0, "label", "x", "property", "y"),
    `${SCACHE}status\x001\0\0`,
    ["scache: warning: scache_save_endp_service: bad or missing request parameter"],
  ],
  [
    "public/flush",
    bytes("garbage that is long"),
    `${FLUSH}status\x003\0\0`,
    ["flush: warning: unexpected end-of-input from flush socket while reading input attribute name"],
  ],
  [
    "public/flush",
    bytes("request\0"),
    `${FLUSH}status\x003\0\0`,
    ["flush: warning: premature end-of-input on flush socket while reading input attribute value"],
  ],
  [
    "private/local",
    bytes("garbage"),
    FAILED_DELIVERY,
    [
      "local: warning: unexpected end-of-input from local socket while reading input attribute name",
      "local: warning: deliver_request_get: error receiving common attributes",
    ],
  ],
  [
    "private/smtp",
    list("nrequest", 99),
    FAILED_DELIVERY,
    [
      "smtp: warning: unexpected attribute nrequest from smtp socket (expecting: flags)",
      "smtp: warning: deliver_request_get: error receiving common attributes",
    ],
  ],
  [
    "private/error",
    list("flags", 0, "queue_name", "active", "queue_id", "../../../etc/passwd", "offset", 0, "size", 0),
    FAILED_DELIVERY,
    [
      "error: warning: missing attribute nexthop in input from error socket",
      "error: warning: deliver_request_get: error receiving common attributes",
    ],
  ],
];

t.test("IPC-01 bad attributes get Postfix's replies and log lines", async (t) => {
  const instance = await runningInstance(t, { mainCf: MAIN_CF });
  for (const [socket, input, reply, lines] of CASES) {
    const position = instance.maillog().length;
    const label = `${socket} <- ${JSON.stringify(input.toString("latin1", 0, 60))}`;
    const received = await exchange(join(instance.queue, socket), input);
    t.equal(received, reply, label);
    const last = lines.at(-1);
    if (last !== undefined)
      await until(
        `the lines of ${label}`,
        () => linesAfter(instance, position).some((line) => line.endsWith(last)),
        5,
      ).catch(() => undefined);
    t.same(
      linesAfter(instance, position).filter((line) => /warning|fatal|error/.test(line)),
      lines.map((line) => `postfix/${line}`),
      label,
    );
  }
  await stillWorks(t, instance);
});

/** Requests as the programs make them; random damage is done to them. */
const REQUESTS: ReadonlyArray<Buffer> = [
  list("request", "rewrite", "rule", "local", "address", "a@b"),
  list("request", "resolve", "sender", "", "address", "a@b"),
  list("request", "connect", "ident", "smtp:1.2.3.4"),
  list("request", "open", "table", "texthash:/etc/passwd", "instance_flags", 0, "flags", 0),
  list("request", "lookup", "table", "texthash:/etc/passwd", "instance_flags", 0, "flags", 0, "key", "root"),
  list("request", "add", "site", "a.b", "queue_id", "ABCDEF012345"),
  list("request", "send_site", "site", "a.b"),
  list(
    "nrequest",
    0,
    "flags",
    0,
    "queue_id",
    "ABCDEF012345",
    "original_recipient",
    "",
    "recipient",
    "a@b",
    "offset",
    0,
    "dsn_orig_rcpt",
    "",
    "notify_flags",
    0,
    "status",
    "5.0.0",
    "diag_type",
    "",
    "diag_text",
    "",
    "mta_type",
    "",
    "mta_mname",
    "",
    "action",
    "failed",
    "reason",
    "x",
  ),
  list(
    "nrequest",
    1,
    "flags",
    0,
    "queue_name",
    "active",
    "queue_id",
    "ABCDEF012345",
    "encoding",
    "8bit",
    "sendopts",
    0,
    "sender",
    "a@b",
    "envelope_id",
    "",
    "ret_flags",
    0,
  ),
  list(
    "flags",
    0,
    "queue_name",
    "active",
    "queue_id",
    "ABCDEF012345",
    "offset",
    0,
    "size",
    0,
    "nexthop",
    "x",
    "encoding",
    "8bit",
    "sendopts",
    0,
    "sender",
    "a@b",
    "envelope_id",
    "",
    "ret_flags",
    0,
  ),
  list("status", "x", "flags", 0, "{", "a", "b", "}"),
];
const ROUNDS = 12;

t.test("IPC-01 random bytes, damaged requests, floods and silence on every socket", async (t) => {
  const instance = await runningInstance(t, { mainCf: MAIN_CF });
  const sockets = ["private", "public"].flatMap((folder) =>
    readdirSync(join(instance.queue, folder), { withFileTypes: true })
      .filter((entry) => entry.isSocket() && entry.name !== "postlog")
      .map((entry) => join(instance.queue, folder, entry.name)),
  );
  t.ok(sockets.length >= 18, `${sockets.length} sockets`);
  const random = randomSource(20261122);
  const idle = sockets.map((socket) =>
    exchange(socket, bytes("request\0half"), { half: false, limit: 8000 }),
  );
  for (let round = 0; round < ROUNDS; round++)
    await Promise.all(
      sockets.flatMap((socket) => [
        exchange(socket, randomBytes(Math.floor(random() * 5000), random), { limit: 300 }),
        exchange(
          socket,
          damaged(REQUESTS[Math.floor(random() * REQUESTS.length)] ?? Buffer.alloc(0), random),
          { limit: 300 },
        ),
        exchange(socket, damaged(Buffer.concat(REQUESTS.slice(round % REQUESTS.length)), random), {
          limit: 300,
          half: false,
        }),
      ]),
    );
  const floods = [
    bytes("A".repeat(3_000_000)),
    bytes("a\0b\0".repeat(500_000)),
    Buffer.alloc(3_000_000),
    bytes(`{\0${"x\0y\0".repeat(300_000)}`),
    bytes(`request\0lookup\0${"table\0".repeat(200_000)}`),
  ];
  for (const flood of floods)
    await Promise.all(sockets.map((socket) => exchange(socket, flood, { limit: 2000 })));
  await Promise.all(idle);
  await stillWorks(t, instance);
  for (const queue of ["incoming", "active", "deferred", "corrupt", "maildrop"])
    t.same(queueFiles(instance, queue), [], `${queue} is empty`);
});

const record = (type: string, text: string): Buffer => {
  const { length } = text;
  const prefix = length < 128 ? [length] : [(length & 127) | 128, length >> 7];
  return Buffer.concat([bytes(type), Buffer.from(prefix), bytes(text)]);
};
const message = (...records: ReadonlyArray<readonly [string, string]>): Buffer =>
  Buffer.concat(records.map(([type, text]) => record(type, text)));
const FLAGS = list("flags", 0);
const ENVELOPE = [
  ["T", "1795340000 1"],
  ["S", "sender@example.org"],
  ["R", "nobody@localhost"],
] as const;
const RECEIVED = "Received: by test";
const GOOD = message(
  ...ENVELOPE,
  ["M", ""],
  ["N", RECEIVED],
  ["N", "Subject: x"],
  ["N", ""],
  ["N", "body"],
  ["X", ""],
  ["E", ""],
);

t.test("records that make no message", NEEDS_ROOT, async (t) => {
  const instance = await runningInstance(t, { mainCf: MAIN_CF });
  const cleanup = join(instance.queue, "public/cleanup");
  const statusOf = (reply: string): number => Number(/status\0(\d+)\0/.exec(reply)?.[1] ?? Number.NaN);
  const send = (records: Buffer): Promise<string> =>
    exchange(cleanup, Buffer.concat([FLAGS, records]), { limit: 5000 });

  const cases: ReadonlyArray<readonly [string, Buffer, number, RegExp | undefined]> = [
    ["no record", Buffer.alloc(0), 1, /cleanup: [0-9A-F]+: removed \(canceled\)/],
    ["no sender", message(["R", "nobody@localhost"], ["M", ""]), 1, undefined],
    [
      "no recipient",
      message(["T", "1795340000 1"], ["S", "a@b"], ["M", ""], ["N", RECEIVED], ["X", ""], ["E", ""]),
      64,
      undefined,
    ],
    [
      "content in the envelope",
      message(...ENVELOPE, ["N", "x"]),
      1,
      /message rejected: unexpected record type 78 in envelope/,
    ],
    [
      "an envelope record in the content",
      message(...ENVELOPE, ["M", ""], ["R", "x@y"]),
      1,
      /cleanup_message_headerbody: message rejected: unexpected record type 82 in message content/,
    ],
    [
      "cut off in a record",
      GOOD.subarray(0, 60),
      1,
      /cleanup socket: unexpected EOF in data, record type \d+ length \d+/,
    ],
    ["cut off between records", message(...ENVELOPE, ["M", ""]), 1, undefined],
    [
      "a length without end",
      Buffer.concat([message(...ENVELOPE), bytes("N"), Buffer.alloc(20, 0xff)]),
      1,
      undefined,
    ],
    [
      "a length of a gigabyte",
      Buffer.concat([
        message(...ENVELOPE, ["M", ""]),
        bytes("N"),
        Buffer.from([0xff, 0xff, 0xff, 0xff, 0x03]),
        bytes("xyz"),
      ]),
      1,
      undefined,
    ],
    [
      "a pointer",
      message(...ENVELOPE, ["p", "000000000000001"]),
      1,
      /record type 112 not allowed - discarding this message/,
    ],
  ];
  for (const [name, records, status, line] of cases) {
    const position = instance.maillog().length;
    t.equal(statusOf(await send(records)), status, name);
    if (line !== undefined)
      await until(name, () => linesAfter(instance, position).some((text) => line.test(text)), 5).then(
        () => t.pass(name),
        () => t.match(linesAfter(instance, position).join("\n"), line),
      );
  }
  const random = randomSource(7);
  for (let round = 0; round < 15; round++)
    await Promise.all(Array.from({ length: 8 }, () => send(damaged(GOOD, random))));
  await Promise.all(Array.from({ length: 10 }, () => send(randomBytes(20_000, random))));
  t.equal(statusOf(await send(GOOD)), 0, "a good one passes");
  await logged(instance, /to=<nobody@localhost>, .*status=sent/);
  await stillWorks(t, instance);
  await until(
    "an empty queue",
    () => queueFiles(instance, "incoming").length === 0 && queueFiles(instance, "active").length === 0,
  );
  t.same(queueFiles(instance, "corrupt"), []);
  t.same(crashes(instance), []);
});
