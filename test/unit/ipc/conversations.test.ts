/** Every message of every captured conversation is one that we have declared, and is written again to the byte. */
import { readdirSync, readFileSync } from "node:fs";
import t from "tap";
import { decode, type Encoding, encode, type Message } from "../../../lib/ipc/attributes.ts";
import * as anvil from "../../../lib/ipc/protocols/anvil.ts";
import * as bounce from "../../../lib/ipc/protocols/bounce.ts";
import * as cleanup from "../../../lib/ipc/protocols/cleanup.ts";
import * as delivery from "../../../lib/ipc/protocols/delivery.ts";
import * as flush from "../../../lib/ipc/protocols/flush.ts";
import * as proxymap from "../../../lib/ipc/protocols/proxymap.ts";
import * as rewrite from "../../../lib/ipc/protocols/rewrite.ts";
import * as scache from "../../../lib/ipc/protocols/scache.ts";
import * as showq from "../../../lib/ipc/protocols/showq.ts";
import * as verify from "../../../lib/ipc/protocols/verify.ts";

interface Conversation {
  readonly service: string;
  readonly encoding: Encoding;
  readonly messages: ReadonlyArray<{
    readonly from: "client" | "server";
    readonly hex?: string;
    readonly text?: string;
    readonly lists?: unknown;
  }>;
}

const PROTOCOLS: Readonly<Record<string, object>> = {
  "private/anvil": anvil,
  "private/bounce": bounce,
  "private/defer": bounce,
  "private/trace": bounce,
  "public/cleanup": cleanup,
  "public/flush": flush,
  "private/proxymap": proxymap,
  "private/proxywrite": proxymap,
  "private/rewrite": rewrite,
  "private/scache": scache,
  "public/showq": showq,
  "private/verify": verify,
};
const declarations = (service: string): Message<never>[] =>
  Object.entries(PROTOCOLS[service] ?? delivery)
    // the first attribute alone, read to learn what follows
    .filter(([name]) => !name.endsWith("Command"))
    .map(([, value]) => value as Message<never>)
    .filter((value) => Array.isArray((value as { fields?: unknown }).fields));

/** What a test client sent on purpose, to see it refused. */
const MALFORMED: ReadonlySet<string> = new Set([
  "anvil-malformed",
  "bounce-unknown-command",
  "cleanup-bad-flags",
  "deliver-bad-stats",
  "flush-unknown",
  "proxymap-unknown-request",
  "rewrite-missing-attr",
  "rewrite-unknown-request",
  "trace-without-sendopts",
  "verify-bad",
]);

/** Bytes of the longest way to read a run of declared lists from the start, each written again to the same bytes. */
function readRun(declared: ReadonlyArray<Message<never>>, input: Buffer, encoding: Encoding): number {
  for (const candidate of declared) {
    const result = decode(candidate, input, { encoding });
    if (result.kind !== "value" || result.length === 0) continue;
    const again = Buffer.from(encode(candidate, result.value, encoding), "latin1");
    if (!again.equals(input.subarray(0, result.length))) continue;
    const rest = input.subarray(result.length);
    if (rest.length === 0 || readRun(declared, rest, encoding) === rest.length) return input.length;
  }
  return 0;
}

/** The stream of showq: open lists of a message and its recipients, each ended by a NUL, and one more NUL. */
function readShowq(input: Buffer): boolean {
  let rest = input;
  const take = (declared: Message<never>, open: boolean): boolean => {
    const result = decode(declared, rest, { open });
    if (result.kind !== "value") return false;
    if (encode(declared, result.value, "attr0", open) !== rest.toString("latin1", 0, result.length))
      return false;
    rest = rest.subarray(result.length);
    return true;
  };
  if (!take(showq.ShowqGreeting as Message<never>, false)) return false;
  while (take(showq.ShowqMessage as unknown as Message<never>, true)) {
    while (take(showq.ShowqRecipient as unknown as Message<never>, true));
    if (rest[0] !== 0) return false;
    rest = rest.subarray(1);
  }
  return rest.toString("latin1") === showq.LIST_TERMINATOR;
}

const folder = new URL("../../vectors/ipc/", import.meta.url);
for (const kind of ["conversations", "direct"])
  for (const file of readdirSync(new URL(`${kind}/`, folder)).filter((name) => name.endsWith(".json"))) {
    // milters are not there yet
    if (file === "cleanup-milter-handoff.json") continue;
    const name = file.replace(".json", "");
    t.test(`${kind}/${name}`, async (t) => {
      const { service, encoding, messages } = JSON.parse(
        readFileSync(new URL(`${kind}/${file}`, folder), "utf8"),
      ) as Conversation;
      const declared = declarations(service);
      t.not(declared.length, 0, "the protocol is declared");
      for (const [index, { from, hex, lists, text }] of messages.entries()) {
        if (hex === undefined || lists === undefined) continue;
        if ((MALFORMED.has(name) || text?.startsWith("request\\0zzz\\0")) && from === "client") continue;
        const input = Buffer.from(hex, "hex");
        const whole =
          service === "public/showq" ? readShowq(input) : readRun(declared, input, encoding) === input.length;
        t.ok(whole, `${from} ${index}: ${text?.slice(0, 120)}`);
      }
    });
  }
