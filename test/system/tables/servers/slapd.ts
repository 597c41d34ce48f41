/** OpenLDAP's server with a few people, groups, dynamic groups and a ring of groups. */
import { execFileSync } from "node:child_process";
import { chownSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Test } from "tap";
import { freePort } from "../../support/harness.ts";
import { type Certificates, makeCertificates } from "./certificates.ts";
import { listens, type RunningServer, serverFolder, startServer } from "./processes.ts";

export interface LdapTestServer {
  readonly port: number;
  readonly securePort: number;
  readonly socket: string;
  readonly certificates: Certificates;
  stop(): Promise<void>;
  start(): Promise<void>;
}

const PEOPLE = `dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=people,dc=example,dc=com
objectClass: organizationalUnit
ou: people

dn: uid=ann,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
objectClass: mailThing
uid: ann
cn: Ann
sn: Ann
description:: Z3LDvMOfZQ==
mail: ann@example.com
mail: ann2@example.com
mailacceptinggeneralid: ann@example.com
maildrop: ann@store.example.com
maildrop: ann@copy.example.com

dn: uid=bob,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
objectClass: mailThing
uid: bob
cn: Bob*(x)\\y
sn: Bob
mail: bob@example.com
mailacceptinggeneralid: bob@example.com
maildrop: bob@store.example.com

dn: cn=eve,ou=people,dc=example,dc=com
objectClass: organizationalRole
objectClass: mailThing
cn: eve
maildrop;lang-en: eve@en.example.com
maildrop;lang-de: eve@de.example.com

dn: cn=team,ou=people,dc=example,dc=com
objectClass: groupOfNames
objectClass: mailThing
cn: team
mail: team@example.com
mailacceptinggeneralid: team@example.com
maildrop: archive@example.com
member: uid=ann,ou=people,dc=example,dc=com
member: uid=bob,ou=people,dc=example,dc=com
member: uid=gone,ou=people,dc=example,dc=com

`;

const ring = (
  name: string,
  next: string,
  address: string,
): string => `dn: cn=${name},ou=people,dc=example,dc=com
objectClass: groupOfNames
objectClass: mailThing
cn: ${name}
${address}maildrop: ${name}@example.com
member: cn=${next},ou=people,dc=example,dc=com

`;
const dynamic = (name: string, url: string): string => `dn: cn=${name},ou=people,dc=example,dc=com
objectClass: groupOfURLs
objectClass: mailThing
cn: ${name}
mailacceptinggeneralid: ${name}@example.com
memberURL: ldap:///ou=people,dc=example,dc=com?${url}?(objectClass=inetOrgPerson)

`;

const DATA =
  PEOPLE +
  ring("ring1", "ring2", "mailacceptinggeneralid: ring@example.com\n") +
  ring("ring2", "ring1", "") +
  dynamic("dyn", "maildrop?sub") +
  dynamic("dynnone", "?sub") +
  dynamic("dynother", "sn?sub") +
  dynamic("dynlang", "maildrop;lang-en?sub").replace("objectClass=inetOrgPerson", "cn=eve") +
  dynamic("dynbad", "maildrop?foo");

/** `more`: LDIF after the stock data. */
export async function slapd(t: Test, more = ""): Promise<LdapTestServer> {
  const folder = serverFolder(t, "slapd", "nobody");
  const { path, ids } = folder;
  const certificates = makeCertificates(path);
  if (ids.uid !== undefined) chownSync(certificates.key, ids.uid, ids.gid ?? 0);
  const [port, securePort] = [await freePort(), await freePort()];
  mkdirSync(join(path, "db"));
  if (ids.uid !== undefined) chownSync(join(path, "db"), ids.uid, ids.gid ?? 0);
  const configuration = join(path, "slapd.conf");
  const oid = "1.3.6.1.4.1.32473.1";
  const attribute = (number: number, name: string): string =>
    `attributetype ( ${oid}.${number} NAME '${name}' EQUALITY caseIgnoreIA5Match SUBSTR caseIgnoreIA5SubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )\n`;
  writeFileSync(
    configuration,
    `${["core", "cosine", "inetorgperson", "dyngroup"].map((name) => `include /etc/ldap/schema/${name}.schema\n`).join("")}
${attribute(1, "maildrop")}${attribute(2, "mailacceptinggeneralid")}
objectclass ( ${oid}.9 NAME 'mailThing' SUP top AUXILIARY MAY ( maildrop $ mailacceptinggeneralid $ mail $ member $ memberURL $ description ) )
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCACertificateFile ${certificates.authority}
TLSCertificateFile ${certificates.certificate}
TLSCertificateKeyFile ${certificates.key}
database mdb
suffix "dc=example,dc=com"
rootdn "cn=admin,dc=example,dc=com"
rootpw secret
maxsize 10485760
directory ${join(path, "db")}
`,
  );
  const ldif = join(path, "data.ldif");
  writeFileSync(ldif, DATA + more);
  execFileSync("/usr/sbin/slapadd", ["-q", "-f", configuration, "-l", ldif], {
    ...ids,
    cwd: path,
    stdio: "ignore",
  });
  const socket = join(path, "sock");
  const places = [
    `ldap://127.0.0.1:${port}/`,
    `ldaps://127.0.0.1:${securePort}/`,
    `ldapi://${encodeURIComponent(socket)}/`,
  ];
  const start = (): Promise<RunningServer> =>
    startServer(t, folder, "/usr/sbin/slapd", ["-f", configuration, "-h", places.join(" "), "-d", "0"], () =>
      listens(port),
    );
  let running = await start();
  return {
    port,
    securePort,
    socket,
    certificates,
    stop: () => running.stop(),
    start: async () => {
      running = await start();
    },
  };
}
