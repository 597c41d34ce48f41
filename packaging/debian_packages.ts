/** What the tests and benchmarks need besides npm packages: Debian packages, and a real Postfix in a folder of its own. Needs root; without it they are used when present. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";

/** Command that shows that a package is there, and the package. */
const PACKAGES: ReadonlyArray<readonly [command: string, name: string]> = [
  ["/usr/bin/swaks", "swaks"],
  ["/usr/sbin/debootstrap", "debootstrap"],
  ["/usr/bin/patchelf", "patchelf"],
  ["/usr/bin/cc", "gcc"],
  ["/usr/bin/strace", "strace"],
  ["/usr/bin/groff", "groff-base"],
  ["/usr/bin/man", "man-db"],
  ["/usr/bin/zsh", "zsh"],
];

/** A real Postfix of Debian unstable, its libraries and tools, in a folder. */
export const REFERENCE = "/var/cache/posthaste-reference/sid";

const run = (command: string, args: ReadonlyArray<string>): boolean =>
  spawnSync(command, [...args], {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
  }).status === 0;

export async function installDebianPackages(): Promise<void> {
  if (process.getuid?.() !== 0 || !existsSync("/usr/bin/apt-get")) return;
  const missing = PACKAGES.filter(([command]) => !existsSync(command)).map(([, name]) => name);
  if (missing.length > 0) {
    console.log(`# installing ${missing.join(" ")}`);
    run("apt-get", ["update", "-qq"]);
    run("apt-get", ["install", "-y", "-qq", "--no-install-recommends", ...missing]);
  }
  if (existsSync(`${REFERENCE}/usr/sbin/postfix`) || !existsSync("/usr/sbin/debootstrap")) return;
  console.log("# installing a real Postfix to test beside");
  const partial = `${REFERENCE}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true });
  if (
    run("debootstrap", [
      "--variant=minbase",
      "--include=postfix,postfix-lmdb,postfix-pcre,postfix-cdb,postfix-sqlite",
      "sid",
      partial,
    ])
  )
    renameSync(partial, REFERENCE);
}
