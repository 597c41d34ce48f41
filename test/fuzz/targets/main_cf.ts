/** main.cf and master.cf: a text is read, or refused in words; values evaluate, or are refused in words. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { ConfigurationError, configurationFromText } from "../../../lib/config/configuration.ts";
import { parseInet } from "../../../lib/config/inet.ts";
import { parseMasterCf } from "../../../lib/config/master_cf.ts";
import { PARAMETERS, type ParameterName } from "../../../lib/config/parameters.ts";
import { setLogSinks } from "../../../lib/log/log.ts";
import type { Target } from "../runner.ts";

const vectors = readFileSync(new URL("../../vectors/config/macro.json", import.meta.url), "utf8");
const values = [...vectors.matchAll(/"((?:[^"\\]|\\.)*\$(?:[^"\\]|\\.)*)"/g)].map(
  ([text]) => JSON.parse(text) as string,
);
const NAMES = Object.keys(PARAMETERS) as ParameterName[];
const plain = configurationFromText("myhostname = mail.example.com\n");

export const mainCf: Target = {
  name: "main_cf",
  seeds: [
    ...values
      .slice(0, 150)
      .map((value) => Buffer.from(`relayhost = ${value}\nmyhostname = a.example.com\n`, "utf8")),
    Buffer.from(
      "smtp inet n - y - 10 smtpd -o a=b\n  -o { c = d e }\ncleanup unix n - n 60? 0 cleanup\n127.0.0.1:25 inet n - n - - smtpd\n",
    ),
    Buffer.from(
      "# comment\nmydestination = $myhostname,\n  localhost\nqueue_run_delay = 5m\nmessage_size_limit = 10240000\nbiff = yes\n",
    ),
  ],
  words: [
    "$",
    "${",
    "}",
    "$(",
    ")",
    "?",
    ":",
    "{",
    "==",
    "!=",
    "<level",
    "<=",
    "\n ",
    "\n#",
    "=",
    "${a?{b}:{c}}",
    "$relayhost",
    "${relayhost}",
    "$$",
    "\0",
    "\\\n",
    "inet",
    "unix",
    "-o",
    "y",
    "-",
    "99999999999",
    "1d",
    ...NAMES.slice(0, 40),
  ],
  check(input) {
    setLogSinks([]);
    const text = input.toString("latin1");
    try {
      const configuration = configurationFromText(text);
      for (const name of [
        "relayhost",
        "mydestination",
        "queue_run_delay",
        "message_size_limit",
        "biff",
        "myhostname",
      ] as const)
        refusable(() => assert.ok(String(configuration.get(name)).length < 10_000_000));
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error;
    }
    // names are none of this target's: nobody is asked for them
    refusable(() => parseMasterCf(text, "master.cf", plain, noNames));
  },
};

function noNames(host: string): Uint8Array[] {
  const number = parseInet(host);
  return number === undefined ? [] : [number];
}

function refusable(work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
  }
}
