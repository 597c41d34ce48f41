/** Who a client is when its socket does not say so: for ourselves and for a real Postfix the same, and never somebody of the local networks (SMTPD-30). */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Instance } from "../../packaging/instance.ts";
import { daemons, logged } from "../system/support/harness.ts";
import { mixedInstance } from "./support/mixed.ts";
import { type Reference, reference } from "./support/reference.ts";

const programs = reference();
t.setTimeout(120_000);

/** What an inetd starts: smtpd with a client's socket as standard input and output. */
async function fromInetd(instance: Instance, host: string): Promise<string> {
  const server = createServer({ pauseOnConnect: true }).listen(0, host);
  await once(server, "listening");
  const client = connect((server.address() as AddressInfo).port, host);
  let said = "";
  client.on("data", (chunk) => (said += chunk.toString("latin1")));
  // a server that does not want it resets
  client.on("error", () => client.destroy());
  const ended = once(client, "close");
  const [socket] = (await once(server, "connection")) as [Socket];
  const { uid, gid } = { uid: 1, gid: 1 }; // daemon, the mail owner of these instances
  const child = spawn(join(instance.directory, "programs/libexec/smtpd"), ["-S"], {
    env: instance.environment,
    cwd: instance.queue,
    uid,
    gid,
    stdio: [socket, socket, "ignore"],
  });
  socket.destroy();
  server.close();
  client.setTimeout(20_000, () => client.destroy());
  const greeted = (): boolean => said.includes("\n");
  for (const line of ["HELO x", "MAIL FROM:<a@b.test>", "RCPT TO:<x@far.test>", "QUIT"]) {
    while (!greeted() && !client.destroyed) await new Promise((resolve) => setTimeout(resolve, 20));
    said = said.slice(said.indexOf("\n") + 1);
    if (!client.destroyed) client.write(`${line}\r\n`);
  }
  await ended;
  child.kill();
  return said;
}

const smtpdLines = (instance: Instance): string[] =>
  instance
    .maillog()
    .split("\n")
    .flatMap((line) => /postfix\/smtpd\[\d+\]: (.*)/.exec(line)?.[1] ?? []);

async function identities(t: Test, reference: Reference, base: "ours" | "real"): Promise<string[]> {
  const instance = await mixedInstance(
    t,
    reference,
    { base, swapped: [] },
    `mynetworks = 127.0.0.0/8 [::1]/128
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_forbid_unauth_pipelining = no
smtpd_forbid_unauth_pipelining_exclusions = static:all
`,
  );
  await fromInetd(instance, "127.0.0.1");
  await fromInetd(instance, "::1");
  await logged(instance, /smtpd\[\d+\]: fatal: cannot handle/);
  const client = connect(instance.smtpPort, "127.0.0.1");
  await once(client, "data");
  client.destroy();
  await logged(instance, /lost connection after CONNECT/);
  // a client that has said all and hung up before its server wakes
  const servers = daemons(instance, "smtpd");
  for (const pid of servers) process.kill(pid, "SIGSTOP");
  const gone = connect(instance.smtpPort, "127.0.0.1");
  await once(gone, "connect");
  gone.write(
    "HELO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<x@far.test>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\n",
  );
  await new Promise((resolve) => setTimeout(resolve, 200));
  gone.resetAndDestroy();
  await new Promise((resolve) => setTimeout(resolve, 100));
  for (const pid of servers) process.kill(pid, "SIGCONT");
  await logged(instance, / disconnect from unknown\[unknown\]/);
  t.notMatch(instance.maillog(), /far\.test>, relay=|from=<a@b\.test>, size/, `${base}: nothing was relayed`);
  return smtpdLines(instance).map((line) => line.replace(/^(?:NOQUEUE|[0-9A-F]{9,}): /, "ID: "));
}

t.test(
  "SMTPD-30 a client whose family is switched off, or who is gone, is nobody we know",
  "missing" in programs ? { skip: programs.missing } : {},
  async (t) => {
    if ("missing" in programs) return;
    const [ours, real] = [await identities(t, programs, "ours"), await identities(t, programs, "real")];
    const until = (lines: string[]): string[] =>
      lines.slice(0, lines.findIndex((line) => line.includes("connect from unknown[unknown]")) + 1);
    t.same(until(ours), until(real));
    t.equal(
      ours.filter((line) => line === 'fatal: cannot handle socket type AF_INET6 with "inet_protocols = ipv4"')
        .length,
      1,
    );
    t.equal(ours.filter((line) => line === "connect from unknown[unknown]").length, 1);
  },
);
