/** The attribute codec against lists that a real Postfix wrote and read. */
import { readFileSync } from "node:fs";
import t from "tap";
import {
  constant,
  data,
  decode,
  encode,
  type Field,
  hash,
  int,
  long,
  message,
  string,
} from "../../../lib/ipc/attributes.ts";
import { encodeUtf8 } from "../../../lib/sys/bytes.ts";

type Attribute = readonly [kind: string, name: string | Record<string, string>, value?: number | string];
interface Vectors {
  readonly encode: ReadonlyArray<{
    name: string;
    attributes: ReadonlyArray<Attribute>;
    flag_more: boolean;
    encoding: string;
    hex: string;
  }>;
  readonly decode_attr0: ReadonlyArray<{
    name: string;
    wanted: ReadonlyArray<readonly [kind: string, name?: string, value?: string]>;
    flags: string;
    input_hex: string;
    result: number;
    warning: string | null;
    s?: string;
    n?: number;
    data_length?: number;
    hash_entries?: number;
  }>;
}
const vectors = JSON.parse(
  readFileSync(new URL("../../vectors/ipc/attr_encoding.json", import.meta.url), "utf8"),
) as Vectors;

const FIELDS: Readonly<Record<string, (name: string) => Field<string, unknown>>> = {
  int,
  long,
  str: string,
  data,
};

t.test("lists are written as Postfix writes them", async (t) => {
  for (const { name, attributes, flag_more, encoding, hex } of vectors.encode) {
    // a value with a newline would be two attributes: we write the first line alone
    if (encoding === "plain" && name === "str-newline") continue;
    if (encoding === "attr64" || attributes.some(([kind]) => kind === "bool")) continue;
    const value: Record<string, unknown> = {};
    const fields = attributes.map(([kind, key, content]) => {
      if (kind === "hash") {
        value.hash = new Map(Object.entries(key));
        return hash("hash") as Field<string, unknown>;
      }
      const field = String(key);
      if (kind === "data") value[field] = Buffer.from(String(content).split(" ")[0] ?? "", "hex");
      else value[field] = typeof content === "string" ? encodeUtf8(content) : content;
      const make = FIELDS[kind];
      if (make === undefined) throw new Error(`no field of kind ${kind}`);
      return make(field);
    });
    const declared = message<ReadonlyArray<Field<string, unknown>>>("vector", fields);
    const bytes = encode(declared, value as never, encoding === "plain" ? "plain" : "attr0", flag_more);
    t.equal(Buffer.from(bytes, "latin1").toString("hex"), hex, `${name}, ${encoding}`);
    const back = decode(declared, Buffer.from(bytes, "latin1"), {
      encoding: encoding === "plain" ? "plain" : "attr0",
      open: flag_more,
    });
    t.match(back, { kind: "value", length: bytes.length }, `${name}, ${encoding}: read back`);
    if (back.kind === "value" && !name.startsWith("data"))
      t.same({ ...(back.value as object) }, value, `${name}, ${encoding}: same values`);
  }
});

t.test("lists are read, and refused, as Postfix does", async (t) => {
  for (const vector of vectors.decode_attr0) {
    // here a message is there as a whole or not at all, and a duplicate in a group does not end it
    if (["missing-none", "wrong-order-none", "hash-dup-strict"].includes(vector.name)) continue;
    const fields = vector.wanted.map(([kind, name = "hash", value = ""]) =>
      kind === "streq"
        ? (constant(name, value) as Field<string, unknown>)
        : kind === "hash"
          ? (hash("hash") as Field<string, unknown>)
          : (FIELDS[kind] ?? string)(name),
    );
    const declared = message<ReadonlyArray<Field<string, unknown>>>("vector", fields);
    const result = decode(declared, Buffer.from(vector.input_hex, "hex"), {
      skipExtra: vector.flags === "NONE",
      open: vector.flags.includes("MORE"),
    });
    if (vector.warning?.includes("end-of-input") || vector.name === "eof-at-start") {
      t.equal(result.kind, "more", vector.name);
      continue;
    }
    if (vector.warning !== null) {
      t.same(result, { kind: "bad", text: vector.warning.replace("warning: ", "") }, vector.name);
      continue;
    }
    if (result.kind !== "value") {
      t.fail(`${vector.name}: ${JSON.stringify(result)}`);
      continue;
    }
    const value = result.value as {
      s?: string;
      n?: number;
      d?: Uint8Array;
      hash?: ReadonlyMap<string, string>;
    };
    if (vector.s !== undefined) t.equal(value.s, vector.s, vector.name);
    // the vectors show numbers unsigned
    if (vector.n !== undefined)
      t.equal(
        vector.n > 2 ** 32 ? BigInt.asUintN(64, BigInt(value.n ?? 0)) : BigInt((value.n ?? 0) >>> 0),
        vector.n > 2 ** 32 ? 2n ** 64n - 1n : BigInt(vector.n),
        vector.name,
      );
    if (vector.data_length !== undefined) t.equal(value.d?.length, vector.data_length, vector.name);
    if (vector.hash_entries !== undefined) t.equal(value.hash?.size, vector.hash_entries, vector.name);
  }
});

t.test("every cut of a list asks for more, and no byte beyond it is taken", async (t) => {
  const declared = message("cut", [string("a"), hash("hash"), int("n")]);
  const value = { a: "text", hash: new Map([["k", "v"]]), n: -2 };
  for (const encoding of ["attr0", "plain"] as const) {
    const bytes = Buffer.from(encode(declared, value, encoding), "latin1");
    for (let length = 0; length < bytes.length; length++)
      t.equal(
        decode(declared, bytes.subarray(0, length), { encoding }).kind,
        "more",
        `${encoding} ${length}`,
      );
    t.match(decode(declared, Buffer.concat([bytes, Buffer.from("next\0")]), { encoding }), {
      kind: "value",
      length: bytes.length,
    });
  }
});

t.test("names such as __proto__ are names like any other", async (t) => {
  const result = decode(message("group", [hash("hash")]), Buffer.from("__proto__\0x\0constructor\0y\0\0"));
  t.equal(result.kind, "value");
  if (result.kind === "value")
    t.same(
      [...result.value.hash],
      [
        ["__proto__", "x"],
        ["constructor", "y"],
      ],
    );
});

t.test("a value ends where a peer's C string would", async (t) => {
  t.equal(encode(message("m", [string("s")]), { s: "a\0request\0evil" }), "s\0a\0\0");
  t.equal(encode(message("m", [string("s")]), { s: "a\nrequest=evil" }, "plain"), "s=a\n\n");
});
