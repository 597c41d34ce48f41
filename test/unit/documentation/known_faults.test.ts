/** Every known fault of mail systems (docs/security.md) has a test that names it, or a reason why it cannot apply, or what it waits for. */
import { readdirSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import t from "tap";

const ROOT = resolve(import.meta.dirname, "../../..");

/** How many there are of each component. */
const LIST: Readonly<Record<string, number>> = {
  SMTPD: 38,
  PRX: 5,
  TLS: 18,
  SASL: 9,
  MLT: 12,
  CLN: 15,
  QUE: 12,
  QMG: 17,
  DUR: 8,
  DLV: 21,
  CLI: 18,
  PSC: 10,
  IPC: 18,
  TAB: 14,
  CFG: 9,
  JS: 36,
};
const idOf = (component: string, number: number): string => `${component}-${String(number).padStart(2, "0")}`;
const ids = Object.entries(LIST).flatMap(([component, count]) =>
  Array.from({ length: count }, (_, index) => idOf(component, index + 1)),
);

function files(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return files(path);
    return /\.(?:ts|txt)$/.test(entry.name) ? [path] : [];
  });
}

/** Names of tests with ids in them: literals that are given to a test function, and scenes of scripts. */
const names = files(join(ROOT, "test"))
  .filter((path) => !path.includes("/vectors/") && !path.includes("/documentation/"))
  .flatMap((path) => {
    const text = readFileSync(path, "utf8");
    return [...text.matchAll(/^=== (.*)$|"([^"\n]*-\d\d[^"\n]*)"|`([^`\n]*-\d\d[^`\n]*)`/gm)].map(
      (match) => [relative(ROOT, path), match[1] ?? match[2] ?? match[3] ?? ""] as const,
    );
  });

/** Single ids, and ranges of them, of docs/security.md. */
function excused(): Set<string> {
  const text = readFileSync(join(ROOT, "docs/security.md"), "utf8");
  const section = text.slice(text.indexOf("\n## Known faults\n"));
  const found = new Set<string>();
  for (const [, component = "", first = "", last] of section.matchAll(
    /\b([A-Z]+)-(\d\d)(?: to [A-Z]+-(\d\d))?/g,
  ))
    for (let number = Number(first); number <= Number(last ?? first); number++)
      found.add(idOf(component, number));
  return found;
}

t.test("each known fault is a test, or docs/security.md says why not", async (t) => {
  t.equal(ids.length, 260);
  const tested = new Set(names.flatMap(([, name]) => name.match(/\b[A-Z]+-\d\d\b/g) ?? []));
  const without = excused();
  t.same(
    ids.filter((id) => !tested.has(id) && !without.has(id)),
    [],
    "neither",
  );
  t.same(
    [...without].filter((id) => !ids.includes(id)),
    [],
    "docs/security.md has no others",
  );
});

t.test("no test is named after a fault that does not exist", async (t) => {
  const known = new Set(ids);
  t.same(
    names.flatMap(([file, name]) =>
      (name.match(/\b(?:SMTPD|PRX|TLS|SASL|MLT|CLN|QUE|QMG|DUR|DLV|CLI|PSC|IPC|TAB|CFG|JS)-\d\d\b/g) ?? [])
        .filter((id) => !known.has(id))
        .map((id) => `${file}: ${id}`),
    ),
    [],
  );
});
