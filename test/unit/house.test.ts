/** The rules that keep the code a house (docs/conventions.md): who may import whom, and who may touch the foreign interface. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import t from "tap";

const ROOT = resolve(import.meta.dirname, "../..");

function sources(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    return entry.isDirectory()
      ? sources(path)
      : path.endsWith(".ts") && !path.endsWith(".d.ts")
        ? [path]
        : [];
  });
}

/**
 * Modules that a file imports, as paths from the root; type-only imports bind nothing at run time. Dynamic ones (a table type that is loaded
 * when a configuration names it, and may itself hold other tables) make no cycle of modules.
 */
function imports(file: string, dynamic = true): string[] {
  const text = readFileSync(join(ROOT, file), "utf8");
  const found: string[] = [];
  for (const match of text.matchAll(/(?:^|\n)\s*(?:import|export)\s+(?!type\b)[^;"']*?from\s+"(\.[^"]+)"/g))
    found.push(match[1] ?? "");
  if (dynamic) for (const match of text.matchAll(/import\("(\.[^"]+)"\)/g)) found.push(match[1] ?? "");
  return found.map((path) => relative(ROOT, resolve(ROOT, dirname(file), path)));
}

const files = [...sources("lib"), ...sources("cmd")];

t.test("only lib/sys touches bun:ffi", async (t) => {
  const offenders = files.filter(
    (file) => !file.startsWith("lib/sys/") && /["']bun:ffi["']/.test(readFileSync(join(ROOT, file), "utf8")),
  );
  t.same(offenders, []);
});

/** The tools that make load for measurements, and parts that are loaded by their first use. */
const MAY_START_LATE = /^(?:cmd\/smtp-|lib\/load\/|lib\/tables\/(?:types|servers|sql|ldap)\/)/;

t.test("no program starts with modules of the runtime, which cost more than its own", async (t) => {
  const offenders = files.filter(
    (file) =>
      !MAY_START_LATE.test(file) &&
      /^(?:import|\} from)(?! type\b)[^;]*"node:/m.test(readFileSync(join(ROOT, file), "utf8")),
  );
  t.same(offenders, []);
});

t.test("lib never imports cmd, and no cmd imports another", async (t) => {
  const offenders: string[] = [];
  for (const file of files)
    for (const target of imports(file)) {
      if (!target.startsWith("cmd/")) continue;
      const own = file.split("/", 2).join("/");
      if (file.startsWith("lib/") || !target.startsWith(`${own}/`)) offenders.push(`${file} -> ${target}`);
    }
  t.same(offenders, []);
});

t.test("no module depends on itself through others", async (t) => {
  const graph = new Map(files.map((file) => [file, imports(file, false)]));
  const state = new Map<string, "open" | "done">();
  const cycles: string[] = [];
  const visit = (file: string, path: string[]): void => {
    if (state.get(file) === "done") return;
    if (state.get(file) === "open") {
      cycles.push([...path.slice(path.indexOf(file)), file].join(" -> "));
      return;
    }
    state.set(file, "open");
    for (const target of graph.get(file) ?? []) visit(target, [...path, file]);
    state.set(file, "done");
  };
  for (const file of files) visit(file, []);
  t.same(cycles, []);
});

t.test("every cmd has a main.ts that exports main", async (t) => {
  for (const name of readdirSync(join(ROOT, "cmd")))
    t.match(readFileSync(join(ROOT, "cmd", name, "main.ts"), "utf8"), /^export const main\b/m, name);
});

t.test("programs are started in one place, with words of bytes", async (t) => {
  const offenders = files.filter((file) =>
    /\bBun\.spawn|child_process/.test(readFileSync(join(ROOT, file), "utf8")),
  );
  t.same(offenders, []);
});
