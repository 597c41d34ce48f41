/** Attribute lists of all internal protocols, in both encodings: what is understood survives being said again. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
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
import type { Target } from "../runner.ts";

const isMessage = (value: unknown): value is Message<Record<string, unknown>> =>
  typeof value === "object" && value !== null && "label" in value && "fields" in value;
const MESSAGES = [anvil, bounce, cleanup, delivery, flush, proxymap, rewrite, scache, showq, verify].flatMap(
  (module) => Object.values(module).filter(isMessage),
);
const NAMES = [...new Set(MESSAGES.flatMap(({ fields }) => fields.map(({ name }) => name)))];

interface EncodingVector {
  readonly cases?: ReadonlyArray<{ readonly hex?: string }>;
}
const vectors = JSON.parse(
  readFileSync(new URL("../../vectors/ipc/attr_encoding.json", import.meta.url), "utf8"),
) as EncodingVector;
const recorded = JSON.stringify(vectors).match(/"(?:[0-9a-f]{2}){8,}"/g) ?? [];

export const attributes: Target = {
  name: "attributes",
  seeds: [
    ...recorded.map((hex) => Buffer.from(hex.slice(1, -1), "hex")),
    ...MESSAGES.map(({ fields }) =>
      Buffer.from(
        `${fields.map((field) => `${field.name}\0${field.constant ?? "1"}\0`).join("")}\0`,
        "latin1",
      ),
    ),
    ...MESSAGES.map(({ fields }) =>
      Buffer.from(
        `${fields.map((field) => `${field.name}=${field.constant ?? "1"}\n`).join("")}\n`,
        "latin1",
      ),
    ),
  ],
  words: [
    ...NAMES,
    "\0",
    "\0\0",
    "=",
    "\n",
    "{\0",
    "}\0",
    "__proto__\0x\0",
    "4294967295",
    "-1",
    "AAAA",
    "=\n\n",
  ],
  check(input) {
    for (const declared of MESSAGES)
      for (const encoding of ["attr0", "plain"] as const) checkOne(declared, input, encoding);
  },
};

function checkOne(declared: Message<Record<string, unknown>>, input: Buffer, encoding: Encoding): void {
  const result = decode(declared, input, { encoding });
  if (result.kind === "bad") assert.ok(result.text.length < 70_000);
  if (result.kind !== "value") return;
  assert.ok(result.length <= input.length);
  const again = encode(declared, result.value, encoding);
  const second = decode(declared, Buffer.from(again, "latin1"), { encoding });
  // a line end in a value cannot be said in the plain encoding
  if (second.kind === "value") assert.deepEqual(second.value, result.value);
  else assert.equal(encoding, "plain");
}
