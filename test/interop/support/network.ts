/**
 * A network of its own for a test: nothing but a loopback interface, where every port is free and all of 127.0.0.0/8 and two prefixes of IPv6 are
 * ours, and a real name server (NSD) that knows the zones of the test alone.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { Resolver } from "node:dns/promises";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Test } from "tap";

const INSIDE = "POSTHASTE_OWN_NETWORK";
const NSD = "/usr/sbin/nsd";
/** Two systems side by side have the halves 127.1 and 127.2 of the network, fd00:1 and fd00:2. */
const SETUP = `PATH=$PATH:/usr/sbin:/sbin
ip link set lo up
for net in 1 2; do
  ip address add 127.$net.0.1/8 dev lo
  # servers and sources need an address of the interface, a route alone is enough for being refused
  for host in 1 7 10; do ip -6 address add fd00:$net::$host/128 dev lo nodad; done
  ip -6 route add local fd00:$net::/64 dev lo
done
exec "$@"`;

/**
 * Runs the file again within a network of its own, and ends as that ended. Comes back at once within it, or with the reason why there can be
 * none. To be called before tap is imported, which would report an empty test of the outer process.
 */
export async function ownNetwork(file: string): Promise<{ readonly skip?: string }> {
  if (process.env[INSIDE] !== undefined) return {};
  if (process.getuid?.() !== 0) return { skip: "needs root" };
  if (!existsSync(NSD)) return { skip: "no nsd" };
  const namespaces = ["--net", "--mount", "--propagation", "private"];
  const possible = spawnSync("unshare", [...namespaces, "sh", "-ec", SETUP, "sh", "true"], {
    encoding: "latin1",
  });
  if (possible.status !== 0)
    return { skip: `no network of its own: ${possible.stderr || possible.error?.message}`.trim() };
  const argv = [process.execPath, ...process.execArgv, file];
  const child = spawn("unshare", [...namespaces, "sh", "-ec", SETUP, "sh", ...argv], {
    stdio: "inherit",
    env: { ...process.env, [INSIDE]: "1" },
  });
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => child.kill(signal));
  process.exit(await new Promise<number>((done) => child.on("close", (status) => done(status ?? 1))));
}

/** The half of the network that a system has; `NET.0.7`, `NET6:7` and `7.0.NET.in-addr.arpa` in texts stand for addresses in it. */
export const inNetwork = (text: string, side: number): string =>
  text
    .replaceAll("NET.in-addr", `${side + 1}.127.in-addr`)
    .replaceAll("NET.", `127.${side + 1}.`)
    .replaceAll("NET6:", `fd00:${side + 1}::`);

/** The reverse of inNetwork(), for texts that are compared. */
export const withoutNetwork = (text: string): string =>
  text
    .replace(/\b127\.[12]\./g, "NET.")
    .replace(/\bfd00:[12]::/g, "NET6:")
    .replace(/\.[12]\.127\.in-addr/g, ".NET.in-addr");

export interface Zones {
  /** Records of the root zone, in which every name is absolute: `example.test MX 10 mx.example.test`. */
  readonly records: string;
  /** Zones that the server should know and does not: SERVFAIL. */
  readonly broken: ReadonlyArray<string>;
  /** Zones of their own, which may have name servers; their names are absolute too. */
  readonly own?: Readonly<Record<string, string>>;
}

/** Starts a name server at an address, with its files in a folder. It ends with the test. */
export async function nameServer(t: Test, folder: string, address: string, zones: Zones): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const broken = zones.broken.map((name) => `zone:\n  name: ${name}\n  zonefile: absent\n`);
  const own = Object.entries(zones.own ?? {});
  writeFileSync(
    join(folder, "nsd.conf"),
    `server:
  ip-address: ${address}
  username: ""
  zonesdir: ${folder}
  database: ""
  pidfile: ${folder}/nsd.pid
  zonelistfile: ${folder}/zones
  xfrdfile: ${folder}/xfrd
  xfrdir: ${folder}
  cookie-secret-file: ""
  server-count: 1
  rrl-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: .
  zonefile: root
${broken.join("")}${own.map(([name]) => `zone:\n  name: ${name}\n  zonefile: zone-${name}\n`).join("")}`,
  );
  const zone = (name: string, records: string): string =>
    `$ORIGIN .\n$TTL 60\n${name} SOA ns.test. root.test. 1 3600 3600 3600 60\n${records}\n`;
  writeFileSync(join(folder, "root"), zone(".", `. NS ns.test.\nns.test A ${address}\n${zones.records}`));
  for (const [name, records] of own) writeFileSync(join(folder, `zone-${name}`), zone(name, records));
  const server: ChildProcess = spawn(NSD, ["-d", "-c", join(folder, "nsd.conf")], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let errors = "";
  server.stderr?.setEncoding("latin1").on("data", (text: string) => {
    errors += text;
  });
  const ended = new Promise<void>((done) => server.on("close", () => done()));
  t.teardown(async () => {
    server.kill("SIGTERM");
    await ended;
  });
  const resolver = new Resolver({ timeout: 1000, tries: 1 });
  resolver.setServers([address]);
  const answers = (): Promise<boolean> =>
    resolver.resolve4("ns.test").then(
      () => true,
      () => false,
    );
  for (
    const deadline = Date.now() + 30_000;
    !(await answers());
    await new Promise((go) => setTimeout(go, 25))
  )
    if (server.exitCode !== null || Date.now() > deadline) throw new Error(`no name server: ${errors}`);
  const complaints = errors
    .split("\n")
    .filter((line) => /error|warning/i.test(line) && !line.endsWith("zonefile absent does not exist"));
  if (complaints.length > 0) throw new Error(complaints.join("\n"));
}
