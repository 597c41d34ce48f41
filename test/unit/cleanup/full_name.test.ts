/** A sender's name in a From: header of ours. */
import t from "tap";
import { submit } from "./harness.ts";

t.test("encoded words end between characters", async (t) => {
  const name = "\u00e9\u00e8\u20ac".repeat(30);
  const { records } = await submit({
    config: {},
    flags: 0,
    records: [
      ["T", "1700000000 0"],
      ["F", Buffer.from(name, "utf8").toString("latin1")],
      ["S", "a@b.test"],
      ["R", "c@d.test"],
      ["M", ""],
      ["N", "Received: x"],
      ["N", ""],
      ["X", ""],
      ["E", ""],
    ],
  });
  const header = records
    .map(([, text]) => text)
    .filter((text) => /=\?utf-8\?/.test(text))
    .join(" ");
  const words = [...header.matchAll(/=\?utf-8\?([BQ])\?([^?]*)\?=/g)];
  t.ok(words.length > 1);
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let decoded = "";
  for (const [word = "", kind = "", text = ""] of words) {
    t.ok(word.length <= 75, word);
    t.equal(kind, "B");
    decoded += decoder.decode(Buffer.from(text, "base64"));
  }
  t.equal(decoded, name);
});
