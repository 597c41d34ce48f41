/** JS-36: what goes into the executables, and what they take from where they are started. */
import { execFile, execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { AUTOLOAD_OFF, BUNDLE } from "../../packaging/compile_options.ts";
import { PROGRAMS as NAMES } from "../../packaging/programs.ts";
import { PROGRAMS, ROOT } from "./support/harness.ts";

t.setTimeout(120_000);

const BUN = join(ROOT, "node_modules/bun/bin/bun.exe");

function folder(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), "posthaste-build-"));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

interface Lock {
  readonly packages: Readonly<
    Record<
      string,
      {
        readonly version?: string;
        readonly integrity?: string;
        readonly resolved?: string;
        readonly dev?: boolean;
        readonly devOptional?: boolean;
        readonly hasInstallScript?: boolean;
      }
    >
  >;
}
const lock = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8")) as Lock;
const locked = Object.entries(lock.packages).filter(([path]) => path !== "");

t.test("JS-36 the executables hold what the product depends on, and no other package", async (t) => {
  const out = folder(t);
  const entry = join(out, "all.ts");
  writeFileSync(
    entry,
    NAMES.map(({ name }) => `import ${JSON.stringify(join(ROOT, "cmd", name, "main.ts"))};\n`).join(""),
  );
  const report = join(out, "report.json");
  execFileSync(BUN, ["build", ...BUNDLE, `--metafile=${report}`, `--outdir=${out}/out`, entry], {
    cwd: ROOT,
    stdio: "pipe",
  });
  const { inputs } = JSON.parse(readFileSync(report, "utf8")) as { inputs: Record<string, unknown> };
  t.ok(Object.keys(inputs).length > 300, `${Object.keys(inputs).length} files`);
  const bundled = new Set(
    Object.keys(inputs).flatMap((path) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? []),
  );
  const allowed = new Set(
    locked
      .filter(([, { dev, devOptional }]) => dev !== true && devOptional !== true)
      .map(([path]) => path.replace(/^.*node_modules\//, "")),
  );
  t.same(
    [...bundled].filter((name) => !allowed.has(name)),
    [],
  );
  t.ok(bundled.has("pino") && bundled.has("dns-packet"));
});

t.test("JS-36 each package is the one that was looked at", async (t) => {
  const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as Record<
    "dependencies" | "devDependencies",
    Record<string, string>
  >;
  const readme = readFileSync(join(ROOT, "README.md"), "utf8");
  for (const [name, version] of Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })) {
    t.match(version, /^\d+\.\d+\.\d+$/, `${name} is pinned`);
    t.ok(readme.includes(`\`${name}\``), `README.md says why ${name} is there`);
  }
  for (const [path, { integrity, resolved }] of locked) {
    t.match(integrity ?? "", /^sha512-/, `${path} has a checksum`);
    t.match(resolved ?? "https://registry.npmjs.org/", /^https:\/\/registry\.npmjs\.org\//, path);
  }
  // bun's fetches its executable, esbuild's checks that it runs
  t.same(
    locked.filter(([, { hasInstallScript }]) => hasInstallScript === true).map(([path]) => path),
    ["node_modules/bun", "node_modules/esbuild"],
  );
});

t.test("JS-36 the same sources make the same bytes, wherever they are built", async (t) => {
  const digests = [folder(t), folder(t)].map((out) => {
    execFileSync(BUN, ["run", join(ROOT, "packaging/build.ts"), `--out=${out}`, "anvil"], { stdio: "pipe" });
    const bytes = readFileSync(join(out, "libexec/anvil"));
    t.equal(bytes.indexOf(ROOT), -1, "and no place is in them");
    return createHash("sha256").update(bytes).digest("hex");
  });
  t.equal(digests[0], digests[1]);
});

t.test("JS-36 no program reads the runtime's configuration where it is started", async (t) => {
  t.equal(AUTOLOAD_OFF.length, 4);
  const evil = folder(t);
  const mark = join(evil, "ran");
  const code = `require("node:fs").appendFileSync(${JSON.stringify(mark)}, process.argv0 + "\\n");\n`;
  for (const name of ["x.js", "x.ts", "index.js"]) writeFileSync(join(evil, name), code);
  writeFileSync(join(evil, "bunfig.toml"), 'preload = ["./x.ts"]\n[run]\npreload = ["./x.ts"]\n');
  writeFileSync(
    join(evil, ".env"),
    `MAIL_CONFIG=${evil}\nBUN_OPTIONS=--preload=${evil}/x.ts\nMAIL_VERBOSE=1\n`,
  );
  writeFileSync(
    join(evil, "package.json"),
    JSON.stringify({
      type: "commonjs",
      imports: { "#x": "./x.js" },
      main: "./x.js",
      bun: { preload: "./x.ts" },
    }),
  );
  writeFileSync(
    join(evil, "tsconfig.json"),
    JSON.stringify({ compilerOptions: { paths: { "*": ["./x.ts"] }, jsxImportSource: "x" } }),
  );
  for (const name of ["pino", "socks", "kerberos", "mongodb", "dns-packet"]) {
    mkdirSync(join(evil, "node_modules", name), { recursive: true });
    writeFileSync(join(evil, "node_modules", name, "package.json"), JSON.stringify({ name, main: "./i.js" }));
    writeFileSync(join(evil, "node_modules", name, "i.js"), code);
  }
  const before = readdirSync(evil).sort();
  const run = (path: string, option: string): Promise<string> =>
    new Promise((resolve) => {
      const env = { PATH: "/usr/bin:/bin", MAIL_CONFIG: "/nonexistent" };
      execFile(path, [option], { cwd: evil, env, timeout: 60_000 }, (_error, stdout, stderr) =>
        resolve(`${stdout}${stderr}`),
      );
    });
  // a daemon without a configuration says so after a second
  await Promise.all(
    NAMES.flatMap(({ name, directory, links = [] }) =>
      [name, ...links].map(async (called) => {
        // a daemon says what is wrong to the log alone, unless it is asked for more
        const option = directory === "libexec" ? "-V" : "--help";
        const said = await run(join(PROGRAMS.multicall, directory, called), option);
        t.match(said, /usage:|fatal: |invalid option/i, called);
        t.ok(!said.includes(evil), called);
      }),
    ),
  );
  t.notOk(existsSync(mark), "nothing of it ran");
  t.same(readdirSync(evil).sort(), before);
});
