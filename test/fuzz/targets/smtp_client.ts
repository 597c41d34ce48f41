/** The client's side of SMTP against a server that sends anything: replies are bounded, or the connection counts as lost. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { setLogSinks } from "../../../lib/log/log.ts";
import { featureBits, featuresOfBits, parseFeatures } from "../../../lib/smtp/client_features.ts";
import { ConnectionLost, readReply } from "../../../lib/smtp/client_reply.ts";
import { Channel } from "../../../lib/sys/channel.ts";
import type { Target } from "../runner.ts";

const vectors = readFileSync(new URL("../../vectors/delivery/smtp-dialogs.json", import.meta.url), "utf8");
const replies = [
  ...new Set([...vectors.matchAll(/"(?:S: )?([245]\d\d[ -](?:[^"\\]|\\.)*)"/g)].map(([, text = ""]) => text)),
];
const LINE_LIMIT = 998;
const REPLIES = 200;

export const smtpClient: Target = {
  name: "smtp_client",
  seeds: [
    ...replies.slice(0, 100).map((text) => Buffer.from(`${text}\r\n`, "latin1")),
    Buffer.from(
      "220 mx.example.com ESMTP\r\n250-mx.example.com\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250-XFORWARD NAME ADDR\r\n250-AUTH PLAIN\r\n250 8BITMIME\r\n250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 go\r\n250 2.0.0 queued\r\n221 bye\r\n",
    ),
  ],
  words: [
    "\r\n",
    "\n",
    "\r",
    "250-",
    "250 ",
    "250",
    "421 4.7.0 x\r\n",
    "999 ",
    "25",
    "-1 ",
    "2.1.0 ",
    "\0",
    "\xff",
    "SIZE ",
    "SIZE 99999999999999999999",
    "x".repeat(100),
    "250-x\r\n",
  ],
  async check(input) {
    setLogSinks([]);
    for (const chunk of [input.length + 1, 5]) await converse(input, chunk);
  },
};

async function converse(input: Buffer, chunk: number): Promise<void> {
  const channel = new Channel("server", 60);
  channel.attach({ write: (bytes) => bytes.length, end() {}, terminate() {}, pause() {}, resume() {} });
  for (let at = 0; at < input.length; at += chunk)
    channel.onData(Buffer.from(input.subarray(at, at + chunk)));
  channel.onEnd();
  for (let count = 0; count < REPLIES; count++) {
    try {
      const reply = await readReply(channel, { peer: "mx[192.0.2.1]:25", lineLimit: LINE_LIMIT, utf8: true });
      assert.ok(reply.code >= 0 && reply.code <= 999);
      // a line is added while the text is shorter than the limit
      assert.ok(reply.text.length <= 2 * LINE_LIMIT + 10, `${reply.text.length} bytes of reply`);
      assert.match(reply.status, /^[245]\.\d{1,3}\.\d{1,3}$|^$/);
      const bits = featureBits(parseFeatures(reply.text));
      assert.equal(featureBits(featuresOfBits(bits)), bits);
    } catch (error) {
      if (error instanceof ConnectionLost) return;
      throw error;
    }
  }
}
