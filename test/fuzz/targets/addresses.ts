/** Address lists: what was made of a text reads as the same again, in time that grows with its length. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { addressNodes, parseAddresses, singleAddress } from "../../../lib/address/parser.ts";
import { externalToInternal, internalToExternal, internalToSmtp } from "../../../lib/address/quote.ts";
import { splitAddress, splitExtension } from "../../../lib/address/split.ts";
import { addressExternal, addressInternal, unparseList } from "../../../lib/address/unparser.ts";
import { parsePath } from "../../../lib/smtp/path.ts";
import type { Target } from "../runner.ts";

const vectors = readFileSync(new URL("../../vectors/processing/rewrite.json", import.meta.url), "utf8");
const texts = [...vectors.matchAll(/"((?:[^"\\]|\\.)*@(?:[^"\\]|\\.)*)"/g)].map(
  ([text]) => JSON.parse(text) as string,
);

export const addresses: Target = {
  name: "addresses",
  seeds: [
    ...texts.slice(0, 200).map((text) => Buffer.from(text, "utf8")),
    Buffer.from('Group: "a b"@c.d (comment (nested)), Name <@r1,@r2:e@f>;, "x\\"y" <g>'),
  ],
  words: [
    "<",
    ">",
    '"',
    "\\",
    "(",
    ")",
    "[",
    "]",
    "@",
    ":",
    ";",
    ",",
    " ",
    "%",
    "!",
    ".",
    "\0",
    "\n",
    "\r\n ",
    "\xff",
    "a@b",
    "..",
    "=?utf-8?q?x?=",
  ],
  check(input) {
    const text = input.toString("latin1").slice(0, 4096);
    const items = parseAddresses(text);
    for (const node of addressNodes(items)) {
      const external = addressExternal(node);
      // a text that is no address in the end may be quoted more with each round, but not without measure
      const again = addressExternal(singleAddress(external));
      assert.ok(again.length <= 2 * external.length + 4);
      if (/^[\w.+-]+@[\w.-]+$/.test(external)) assert.equal(again, external);
      const internal = addressInternal(node);
      assert.ok(internal.length <= 2 * text.length + 2);
      const { local, domain } = splitAddress(internal);
      assert.ok(local.length + (domain?.length ?? 0) <= internal.length);
      splitExtension(local, {
        delimiters: "+-",
        doubleBounceSender: "double-bounce",
        ownerRequestSpecial: true,
      });
    }
    const list = unparseList(items, "list");
    assert.ok(list.length <= 4 * text.length + 100);
    const internal = externalToInternal(text);
    for (const quoted of [internalToExternal(internal), internalToSmtp(internal)])
      assert.ok(quoted.length <= 2 * internal.length + 2);
    for (const strict of [false, true]) parsePath(`<${text}>`, { strict, allowEmpty: true });
  },
};
