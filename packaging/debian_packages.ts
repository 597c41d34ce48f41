/** What the tests and benchmarks need besides npm packages: Debian packages, and a real Postfix in a folder of its own. Needs root; without it they are used when present. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";

/** A path that shows that a package is there, and the package. */
const PACKAGES: ReadonlyArray<readonly [path: string, name: string]> = [
  ["/usr/bin/swaks", "swaks"],
  ["/usr/sbin/debootstrap", "debootstrap"],
  ["/usr/bin/patchelf", "patchelf"],
  ["/usr/bin/cc", "gcc"],
  ["/usr/bin/strace", "strace"],
  ["/usr/bin/groff", "groff-base"],
  ["/usr/bin/man", "man-db"],
  ["/usr/bin/zsh", "zsh"],
  ["/usr/bin/sqlite3", "sqlite3"],
  ["/usr/sbin/mariadbd", "mariadb-server"],
  ["/usr/lib/postgresql", "postgresql"],
  ["/usr/sbin/slapd", "slapd"],
  ["/usr/bin/memcached", "memcached"],
  ["/usr/sbin/nsd", "nsd"],
  ["/usr/sbin/ip", "iproute2"],
  ["/usr/sbin/rpcbind", "rpcbind"],
  ["/usr/sbin/ypserv", "ypserv"],
  ["/usr/sbin/ypbind", "ypbind-mt"],
];

/** A real Postfix of Debian unstable, its libraries and tools, in a folder. */
export const REFERENCE = "/var/cache/posthaste-reference/sid";

/** Table types of the real Postfix are packages of their own; each with a file that shows that it is there. */
const REFERENCE_PACKAGES = ["cdb", "ldap", "lmdb", "mongodb", "mysql", "pcre", "pgsql", "sqlite"].map(
  (type) => [`${REFERENCE}/usr/lib/postfix/postfix-${type}.so`, `postfix-${type}`] as const,
);

const POLICY = "/usr/sbin/policy-rc.d";

const run = (command: string, args: ReadonlyArray<string>): boolean =>
  spawnSync(command, [...args], {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
  }).status === 0;

export async function installDebianPackages(): Promise<void> {
  if (process.getuid?.() !== 0 || !existsSync("/usr/bin/apt-get")) return;
  const missing = PACKAGES.filter(([path]) => !existsSync(path)).map(([, name]) => name);
  if (missing.length > 0) {
    console.log(`# installing ${missing.join(" ")}`);
    withoutServices(() => {
      run("apt-get", ["update", "-qq"]);
      run("apt-get", ["install", "-y", "-qq", "--no-install-recommends", ...missing]);
    });
  }
  if (existsSync("/usr/sbin/debootstrap")) installReference();
}

/** The tests start servers of their own, in folders of their own: installing one must not start it as a service of the system. */
function withoutServices(install: () => void): void {
  const ours = !existsSync(POLICY);
  if (ours) writeFileSync(POLICY, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  try {
    install();
  } finally {
    if (ours) rmSync(POLICY);
  }
}

function installReference(): void {
  const missing = REFERENCE_PACKAGES.filter(([path]) => !existsSync(path)).map(([, name]) => name);
  if (existsSync(`${REFERENCE}/usr/sbin/postfix`) && (missing.length === 0 || completeReference(missing)))
    return;
  console.log("# installing a real Postfix to test beside");
  const partial = `${REFERENCE}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true });
  const include = ["postfix", ...REFERENCE_PACKAGES.map(([, name]) => name)].join(",");
  if (!run("debootstrap", ["--variant=minbase", `--include=${include}`, "sid", partial])) return;
  for (const old of [REFERENCE, `${REFERENCE}-programs`]) rmSync(old, { recursive: true, force: true });
  renameSync(partial, REFERENCE);
}

/** Adds packages to the folder as long as they fit the Postfix in it; false when it must be made anew. */
function completeReference(names: ReadonlyArray<string>): boolean {
  console.log(`# installing ${names.join(" ")} beside the real Postfix`);
  const apt = (...args: string[]): boolean =>
    run("chroot", [REFERENCE, "apt-get", "-qq", "-o", "Acquire::Check-Valid-Until=false", ...args]);
  return apt("update") && apt("install", "-y", "--no-install-recommends", "--no-upgrade", ...names);
}
