import t from "tap";
import { ByteOutput } from "../../../lib/sys/byte_output.ts";
import { printable } from "../../../lib/sys/bytes.ts";

t.test("pieces of any length, beyond the memory it began with", async (t) => {
  const output = new ByteOutput(8);
  const source = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
  let expected = "";
  for (let length = 0; length < 80; length++) {
    const part = source.subarray(100, 100 + length).toString("latin1");
    output.text(part);
    output.copy(source, 100, 100 + length);
    output.fill(0x2e, length - 40);
    expected += part + part + ".".repeat(Math.max(0, length - 40));
  }
  t.equal(output.view().toString("latin1"), expected);
  output.clear();
  t.equal(output.view().length, 0);
});

t.test("printable as a text would be", async (t) => {
  const output = new ByteOutput(8);
  const source = Buffer.from("plain \xc3\xa9 \xc3 \x01 \x7f", "latin1");
  for (const utf8 of [true, false])
    for (let end = 0; end <= source.length; end++) {
      output.clear();
      output.printable(source, 0, end, utf8);
      t.equal(output.view().toString("latin1"), printable(source.toString("latin1", 0, end), utf8));
    }
});
