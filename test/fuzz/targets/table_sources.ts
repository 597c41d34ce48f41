/** Sources of tables: any text is a table, with a warning for each line that is no rule. */
import assert from "node:assert/strict";
import { rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseAlias } from "../../../cmd/postalias/source.ts";
import { configurationFromText, installConfiguration } from "../../../lib/config/configuration.ts";
import { logicalLines } from "../../../lib/config/lines.ts";
import { setLogSinks } from "../../../lib/log/log.ts";
import { parseSourceLine } from "../../../lib/tables/source.ts";
import { openCidr } from "../../../lib/tables/types/cidr.ts";
import type { Target } from "../runner.ts";

const PATH = join(tmpdir(), `posthaste-fuzz-cidr-${process.pid}`);
process.on("exit", () => rmSync(PATH, { force: true }));

export const tableSources: Target = {
  name: "table_sources",
  seeds: [
    Buffer.from("192.0.2.0/24 OK\n!2001:db8::/32 REJECT no\nif 10.0.0.0/8\n10.1.2.3 one\nendif\n"),
    Buffer.from(
      'key value\n"quoted key" value\nkey: value\n# comment\n  continued\nuser@example.com other@example.com, more\n',
    ),
    Buffer.from(
      'root: admin, "|/usr/bin/vacation \\"x\\"", /var/mail/x, :include:/etc/list\n"a b": c (comment), d@e\n owner-x: <y@z>,\n',
    ),
  ],
  words: [
    "|",
    ", ",
    "(",
    ")",
    ":include:",
    "<",
    "if ",
    "endif\n",
    "!",
    "/",
    "0.0.0.0/0",
    "::/0",
    "[",
    "]",
    "256",
    "/33",
    "/129",
    "\n",
    "\n ",
    "#",
    '"',
    "\\",
    "\0",
    "\xff",
    ":",
  ],
  async check(input) {
    setLogSinks([]);
    installConfiguration(configurationFromText("myhostname = mail.example.com\n"));
    const text = input.toString("latin1");
    for (const { text: line } of logicalLines(text, "source").lines)
      for (const utf8 of [false, true]) {
        const parsed = parseSourceLine(line, utf8);
        if (parsed.kind === "record")
          assert.ok(parsed.key !== "" && parsed.value !== "" && parsed.key.length < line.length);
      }
    for (const { text: line } of logicalLines(text, "source").lines) {
      const alias = parseAlias(line);
      if (alias.kind === "record") assert.ok(alias.key.length + alias.value.length <= 4 * line.length + 20);
    }
    writeFileSync(PATH, input);
    // what was changed just now is read again
    utimesSync(PATH, 1, 1);
    const table = await openCidr(PATH, { flags: 0 } as never);
    for (const key of ["192.0.2.1", "10.1.2.3", "2001:db8::1", "x", ""]) await table.lookup(key);
    table.close?.();
  },
};
