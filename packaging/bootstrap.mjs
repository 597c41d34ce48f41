/**
 * First step of `npm start`, `npm test` and `npm run bench`: plain JavaScript for Node alone, since nothing is installed yet on a fresh
 * clone. Installs what package-lock.json pins when it is missing, then runs a script with Bun.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const bun = join(root, "node_modules", ".bin", "bun");

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: "inherit" });
  if (error !== undefined) {
    console.error(`${command}: ${error.message}`);
    process.exit(1);
  }
  return status ?? 1;
}

/** Whether node_modules holds what the lock file says: npm leaves a copy of the lock there. */
function installed() {
  const marker = join(root, "node_modules", ".package-lock.json");
  if (!existsSync(marker)) return false;
  if (statSync(marker).mtimeMs >= statSync(join(root, "package-lock.json")).mtimeMs) return true;
  const names = (file) => Object.entries(JSON.parse(readFileSync(file, "utf8")).packages ?? {});
  const present = new Map(names(marker));
  return names(join(root, "package-lock.json")).every(
    ([name, entry]) => name === "" || entry.optional === true || present.get(name)?.version === entry.version,
  );
}

if (!installed()) {
  // not `npm ci`: it insists on lock entries for every foreign platform's optional package, which a registry may not carry
  const status = run("npm", ["install", "--no-save", "--no-audit", "--no-fund"]);
  if (status !== 0) process.exit(status);
}
// the npm package fetches its executable out of a sibling package at the first run
if (run(bun, ["--version"]) !== 0) process.exit(1);
const [script, ...args] = process.argv.slice(2);
if (script === undefined) process.exit(0);
process.exit(run(bun, ["run", join(root, script), ...args]));
