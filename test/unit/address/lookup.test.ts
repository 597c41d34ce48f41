import { readFileSync } from "node:fs";
import t from "tap";
import { TransportMap } from "../../../cmd/trivial-rewrite/transport_map.ts";
import { type AddressTables, type LookupRules, lookupAddress } from "../../../lib/address/lookup.ts";
import { mapAddress } from "../../../lib/address/mapping.ts";
import { addressNodes, parseAddresses, plainAddresses } from "../../../lib/address/parser.ts";
import { externalToInternal } from "../../../lib/address/quote.ts";
import { stripExtension } from "../../../lib/address/split.ts";
import { addressInternal } from "../../../lib/address/unparser.ts";
import { lowerAscii } from "../../../lib/sys/bytes.ts";

interface KeyCase {
  consumer: string;
  address?: string;
  keys: string[];
}
interface ExpansionCase {
  map: string;
  entries: Record<string, string>;
  in: string;
  out: string;
  propagate?: string;
}
const vectors: { cases: KeyCase[]; expansion: ExpansionCase[] } = JSON.parse(
  readFileSync("test/vectors/tables/lookup_keys.json", "utf8"),
);

const rules: LookupRules = {
  delimiters: "+",
  ownerRequestSpecial: true,
  doubleBounceSender: "double-bounce",
  myorigin: "host.example.com",
  isLocalDomain: (domain) => Promise.resolve(["host.example.com", "localhost"].includes(lowerAscii(domain))),
};

/** Finds nothing and remembers the keys. */
function recorder(): { tables: AddressTables; keys: string[] } {
  const keys: string[] = [];
  return {
    keys,
    tables: {
      empty: false,
      lookup: (key) => {
        keys.push(key);
        return Promise.resolve({ kind: "absent" });
      },
    },
  };
}

const EXTERNAL = /canonical|virtual_alias/;
const STANDARD =
  /^(?:canonical_maps|recipient_canonical_maps|sender_canonical_maps|virtual_alias_maps|.*_bcc_maps|relocated_maps|sender_dependent_.*|local_recipient_maps|relay_recipient_maps)(?: |$)/;

for (const row of vectors.cases) {
  const { address } = row;
  if (address === undefined) continue;
  if (STANDARD.test(row.consumer)) {
    t.test(`${row.consumer} ${address}`, async (t) => {
      const { tables, keys } = recorder();
      const key =
        address === "" && row.consumer.startsWith("sender_dependent") ? "<>" : externalToInternal(address);
      await lookupAddress(tables, key, rules, EXTERNAL.test(row.consumer) ? "external" : "both");
      t.same(row.consumer.startsWith("relay_recipient") ? keys.map(lowerAscii) : keys, row.keys);
    });
  } else if (row.consumer === "transport_maps") {
    t.test(`${row.consumer} ${address}`, async (t) => {
      const { tables, keys } = recorder();
      const map = new TransportMap(tables, false);
      await map.lookup(
        address,
        stripExtension(address, rules)?.address,
        address.slice(address.lastIndexOf("@") + 1),
      );
      t.same(keys, [...row.keys, "*"]);
    });
  }
}

t.test("the wildcard entry is asked for again after 30 seconds only", async (t) => {
  const { tables, keys } = recorder();
  let now = 0;
  const map = new TransportMap(tables, true, () => now);
  await map.wildcard();
  now = 30;
  await map.wildcard();
  t.same(keys, ["*"]);
  now = 30.5;
  await map.wildcard();
  t.same(keys, ["*", "*"]);
});

const rewrite = (address: string): Promise<string> =>
  Promise.resolve(address.includes("@") ? address : `${address}@host.example.com`);

for (const row of vectors.expansion) {
  // mapping the result again is cleanup's business
  if (Object.keys(row.entries).length > 1) continue;
  t.test(`${row.map} ${row.in} ${JSON.stringify(row.entries)}`, async (t) => {
    const entries = new Map(Object.entries(row.entries));
    const tables: AddressTables = {
      empty: false,
      lookup: (key) => {
        const value = entries.get(lowerAscii(key));
        return Promise.resolve(value === undefined ? { kind: "absent" } : { kind: "found", value });
      },
    };
    const result = await mapAddress(tables, row.map, row.in, true, { ...rules, rewrite });
    t.equal(
      result.kind === "found" ? result.addresses.join(",") : result.kind,
      row.out.replaceAll(", ", ","),
    );
  });
}

t.test("what a table knows at once is answered at once", (t) => {
  const text = "one@a.example, two@b.example three@c.example";
  const tables: AddressTables = {
    empty: false,
    lookup: (key) => (key === "list@far.example" ? { kind: "found", value: text } : { kind: "absent" }),
  };
  const atOnce = { ...rules, isLocalDomain: () => false, rewrite: (external: string) => external };
  t.same(mapAddress(tables, "virtual_alias_maps", "list+x@far.example", true, atOnce), {
    kind: "found",
    addresses: ["one+x@a.example", "two+x@b.example", "three+x@c.example"],
  });
  t.same(mapAddress(tables, "virtual_alias_maps", "other@far.example", true, atOnce), { kind: "absent" });
  t.end();
});

t.test("a list of plain addresses is what its tokens say", (t) => {
  const lists = ["a@b", "a.b@c.d,e@f", "a@b.c d@e.f", "a@b ,\r\n,c@d", "a+x=y@b-c.d\te_f@g"];
  const others = [
    "a@b. c@d",
    "a@b .c@d",
    "a b@c",
    '"a"@b',
    "a",
    "",
    "a@[1.2.3.4]",
    "a@b (c)",
    "x: a@b;",
    "a!b@c",
  ];
  const byTokens = (text: string): string[] => addressNodes(parseAddresses(text)).map(addressInternal);
  for (const text of lists) t.same(plainAddresses(text), byTokens(text), text);
  for (const text of others) t.equal(plainAddresses(text), undefined, text);
  t.end();
});

t.test("an error ends the search", async (t) => {
  let asked = 0;
  const tables: AddressTables = {
    empty: false,
    lookup: () => {
      asked++;
      return Promise.resolve({ kind: "error", error: "retry" });
    },
  };
  t.same(await lookupAddress(tables, "a+b@c", rules, "both"), { kind: "error", error: "retry" });
  t.equal(asked, 1);
});

t.test("derived keys go to fixed tables only", async (t) => {
  const asked: Array<[string, boolean]> = [];
  const tables: AddressTables = {
    empty: false,
    lookup: (key, options) => {
      asked.push([key, options?.fixedOnly === true]);
      return Promise.resolve({ kind: "absent" });
    },
  };
  await lookupAddress(tables, "u+x@far.example", rules, "both");
  t.same(asked, [
    ["u+x@far.example", false],
    ["u@far.example", true],
    ["@far.example", true],
  ]);
});
