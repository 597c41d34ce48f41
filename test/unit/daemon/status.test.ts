/** Reports to master, options of programs. */
import { readFileSync } from "node:fs";
import t from "tap";
import { optionLetters } from "../../../lib/daemon/help.ts";
import { parseOptions } from "../../../lib/daemon/options.ts";
import { SERVICE_OPTIONS } from "../../../lib/daemon/service_options.ts";
import {
  AVAILABILITY,
  decodeStatus,
  encodeStatus,
  expectationOf,
  STATUS_SIZE,
} from "../../../lib/daemon/status.ts";

t.test("a report is the twelve bytes that a real daemon writes", async (t) => {
  const vector = JSON.parse(
    readFileSync(new URL("../../vectors/ipc/status_pipe.json", import.meta.url), "utf8"),
  ) as { example_pid: number; example_generation: number; TAKEN_hex: string; AVAIL_hex: string };
  const report = (availability: number) => ({
    pid: vector.example_pid,
    generation: vector.example_generation,
    availability,
  });
  for (const [availability, hex] of [
    [AVAILABILITY.taken, vector.TAKEN_hex],
    [AVAILABILITY.available, vector.AVAIL_hex],
  ] as const) {
    const bytes = encodeStatus(report(availability));
    t.equal(bytes.length, STATUS_SIZE);
    t.equal(bytes.toString("hex"), hex);
    t.same(decodeStatus(bytes), report(availability));
  }
  t.same(decodeStatus(encodeStatus({ pid: 1, generation: 2 ** 32 - 1, availability: -1 })), {
    pid: 1,
    generation: 2 ** 32 - 1,
    availability: -1,
  });
});

t.test("a service that is expected has a number that no availability is", async (t) => {
  const paths = ["public/cleanup", "private/rewrite", "private/smtp", "private/relay", "private/proxymap"];
  const numbers = paths.map(expectationOf);
  t.ok(numbers.every((number) => Number.isInteger(number) && number < 0 && number >= -(2 ** 31)));
  t.equal(new Set(numbers).size, paths.length);
  for (const availability of numbers)
    t.equal(decodeStatus(encodeStatus({ pid: 1, generation: 2, availability })).availability, availability);
});

t.test("options are read by the rules of POSIX", async (t) => {
  const letters = "c:dv";
  const read = (...args: string[]) => {
    const result = parseOptions(args, letters);
    return result.ok
      ? [result.options.map(({ option, value }) => option + value), result.operands]
      : result.problem;
  };
  t.same(
    read("-dv", "-c", "x", "-cy", "a", "-d"),
    [
      ["d", "v", "cx", "cy"],
      ["a", "-d"],
    ],
    "they stop at an operand",
  );
  t.same(read("-dcx"), [["d", "cx"], []], "a cluster ends with an argument");
  t.same(read("-c", "-d"), [["c-d"], []], "an argument may look like an option");
  t.same(read("-d", "--", "-v"), [["d"], ["-v"]]);
  t.same(read("-"), [[], ["-"]]);
  t.same(read("-c", ""), [["c"], []], "an empty argument is one");
  t.equal(read("-Z"), "invalid option -- 'Z'");
  t.equal(read("-dZ"), "invalid option -- 'Z'");
  t.equal(read("-:"), "invalid option -- ':'");
  t.equal(read("--help"), "invalid option -- '-'");
  t.equal(read("-v", "-c"), "option requires an argument -- 'c'");
});

t.test("daemons know the options of the contract, and no other", async (t) => {
  const letters = optionLetters({ options: SERVICE_OPTIONS });
  t.same(
    [...letters.matchAll(/[a-zA-Z]:?/g)].map(([letter]) => letter).sort(),
    ["c", "d", "D", "i:", "l", "m:", "n:", "o:", "r:", "s:", "S", "t:", "u", "v", "V", "z"].sort(),
  );
});
