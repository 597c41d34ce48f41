/** smtp-sink(1) and smtp-source(1): what a real one answered and sent, and the two together. */
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { freePort, isRoot, PROGRAMS, ROOT, until } from "./support/harness.ts";

t.setTimeout(240_000);

const SBIN = join(PROGRAMS.multicall, "sbin");
/** root must name somebody to be. */
const AS_USER = isRoot ? ["-u", "nobody"] : [];

const vectors = <T>(name: string): T =>
  JSON.parse(readFileSync(join(ROOT, "test/vectors/tools", `${name}.json`), "utf8")) as T;

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A running program and how it ends. */
function start(name: string, args: ReadonlyArray<string>): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(join(SBIN, name), [...args], { argv0: name, stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("latin1").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("latin1").on("data", (text: string) => (stderr += text));
  const ended = new Promise<Ended>((resolve) =>
    child.on("close", (status) => resolve({ status, stdout, stderr })),
  );
  return { child, ended };
}

async function inParallel<T>(
  items: ReadonlyArray<T>,
  width: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const queue = [...items];
  const worker = async (): Promise<void> => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: width }, worker));
}

/** A client that keeps all that it hears. */
class Client {
  heard = "";
  ended = false;
  readonly socket: Socket;
  constructor(socket: Socket) {
    this.socket = socket;
    socket.setEncoding("latin1").on("data", (text: string) => (this.heard += text));
    socket.on("error", () => (this.ended = true)).on("end", () => (this.ended = true));
  }
  static async open(port: number | string): Promise<Client> {
    for (let attempt = 0; ; attempt++) {
      const socket = typeof port === "string" ? connect(port) : connect(port, "127.0.0.1");
      const opened = await new Promise<boolean>((resolve) =>
        socket.once("connect", () => resolve(true)).once("error", () => resolve(false)),
      );
      if (opened) return new Client(socket);
      if (attempt > 200) throw new Error(`nobody listens at ${port}`);
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }
  /** Sends a line when the last one was answered as expected. */
  async expect(send: string, receive: string, end = false): Promise<string> {
    this.heard = "";
    if (send !== "") this.socket.write(send, "latin1");
    await until(
      `${JSON.stringify(receive)} for ${JSON.stringify(send)}, not ${JSON.stringify(this.heard)}`,
      () => this.heard.length >= receive.length && (!end || this.ended),
    );
    return this.heard;
  }
}

interface SinkCase {
  readonly options: ReadonlyArray<string>;
  readonly steps?: ReadonlyArray<{ readonly send?: string; readonly receive: string; readonly end: boolean }>;
  readonly stdout?: string;
  readonly status?: number;
  readonly stderr?: string;
}

t.test("smtp-sink answers as recorded", async (t) => {
  await inParallel(
    vectors<SinkCase[]>("smtp-sink"),
    6,
    async ({ options, steps, stdout, status, stderr }) => {
      const name = options.join(" ");
      const port = await freePort();
      const { child, ended } = start("smtp-sink", [...AS_USER, ...options, `127.0.0.1:${port}`, "10"]);
      if (steps === undefined) {
        const result = await ended;
        t.same(
          { status: result.status, stderr: result.stderr.replaceAll(String(port), "PORT") },
          { status, stderr },
          name,
        );
        return;
      }
      const client = await Client.open(port);
      for (const { send = "", receive, end } of steps) {
        if (receive === "" && !end && send === "") continue;
        const heard =
          receive === "" && !end ? await client.expect(send, "") : await client.expect(send, receive, end);
        if (heard !== receive) t.equal(heard, receive, `${name}: ${JSON.stringify(send)}`);
      }
      client.socket.destroy();
      if (stdout !== "") await until("the count", () => client.socket.destroyed);
      child.kill();
      const result = await ended;
      t.equal(result.stderr, "", name);
      if (stdout !== "") t.equal(result.stdout.slice(0, stdout?.length), stdout, `${name}: counts`);
    },
  );
});

interface SourceCase {
  readonly options: ReadonlyArray<string>;
  readonly replies: Readonly<Record<string, string | null>>;
  readonly greeting: string;
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly sessions: ReadonlyArray<ReadonlyArray<string>>;
}

/** A server that says what it is told to, and keeps the lines of each session. */
async function scripted(
  t: Test,
  { replies, greeting, options }: SourceCase,
): Promise<{ port: number; sessions: string[][]; server: Server }> {
  const sessions: string[][] = [];
  const server = createServer((socket) => {
    const lines: string[] = [];
    sessions.push(lines);
    let data = false;
    let rest = "";
    socket.write(`${greeting}\r\n`);
    socket.on("error", () => undefined);
    socket.setEncoding("latin1").on("data", (text: string) => {
      const parts = (rest + text).split("\r\n");
      rest = parts.pop() ?? "";
      for (const line of parts) {
        lines.push(line);
        if (data && line !== ".") continue;
        const verb = line.split(" ", 1)[0] ?? "";
        const usual = verb === "DATA" ? "354 go" : verb === "QUIT" ? "221 bye" : "250 ok";
        const reply = replies[verb] === undefined ? usual : replies[verb];
        const copies =
          data && options.includes("-L") ? lines.filter((sent) => sent.startsWith("RCPT")).length : 1;
        data = verb === "DATA" && reply?.startsWith("3") === true;
        if (reply === null || reply === undefined) socket.destroy();
        else socket.write(`${reply}\r\n`.repeat(copies));
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  t.teardown(() => server.close());
  const address = server.address();
  return { port: typeof address === "object" && address !== null ? address.port : 0, sessions, server };
}

const normal = (line: string): string =>
  line
    .replace(/^Date: \w{3}, .*/, "Date: D")
    .replace(/^Message-Id: <[0-9a-f]{4}\.[0-9a-f]{4}\./, "Message-Id: <PID.FD.");

t.test("smtp-source sends as recorded", async (t) => {
  await inParallel(vectors<SourceCase[]>("smtp-source"), 12, async (recorded) => {
    const { port, sessions } = await scripted(t, recorded);
    const { ended } = start("smtp-source", [...recorded.options, `127.0.0.1:${port}`]);
    const { status, stdout, stderr } = await ended;
    t.same(
      { status, stdout, stderr, sessions: sessions.map((lines) => lines.map(normal)) },
      {
        status: recorded.status,
        stdout: recorded.stdout,
        stderr: recorded.stderr,
        sessions: recorded.sessions,
      },
      `${recorded.options.join(" ")} ${JSON.stringify(recorded.replies)}`,
    );
  });
});

/** A folder where the user of smtp-sink may write. */
function folder(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), "posthaste-load-"));
  chmodSync(directory, 0o777);
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Starts a sink and waits until it listens. */
async function sink(t: Test, ...options: string[]) {
  const port = await freePort();
  const running = start("smtp-sink", [...AS_USER, ...options, `127.0.0.1:${port}`, "100"]);
  t.teardown(() => running.child.kill());
  (await Client.open(port)).socket.destroy();
  return { ...running, port };
}

t.test("the two together: a file as the message, many sessions, counts, an end", async (t) => {
  const directory = folder(t);
  const { port, ended } = await sink(t, "-c", "-M", "50", "-d", `${directory}/%Y/m.`);
  const message = join(directory, "message");
  writeFileSync(message, Buffer.from("Subject: x\n\n.dot\nbytes \x00\xff\n..two\nlast", "latin1"));
  const source = start("smtp-source", [
    "-c",
    "-s",
    "7",
    "-m",
    "50",
    "-F",
    message,
    "-S",
    "unused",
    `127.0.0.1:${port}`,
  ]);
  // the sink ends with the last message: then QUIT is not answered any more
  await source.ended;
  const { status, stdout } = await ended;
  t.equal(status, 0, "-M ends it");
  t.match(stdout, /sess=\d+ quit=\d+ mesg=50\r/);
  const year = join(directory, String(new Date().getFullYear()));
  const files = readdirSync(year);
  t.equal(files.length, 50, "one file a message, the directory was made");
  t.ok(files.every((name) => /^m\.[0-9a-f]{8}$/.test(name)));
  const text = readFileSync(join(year, files[0] ?? ""), "latin1");
  t.match(
    text,
    /^X-Client-Addr: 127\.0\.0\.1\nX-Client-Proto: SMTP\nX-Helo-Args: .*\nX-Mail-Args: <foo@.*>\nX-Rcpt-Args: <foo@.*>\nReceived: from \S+ \(\[127\.0\.0\.1\]\)\n\tby smtp-sink \(smtp-sink\) with SMTP id [0-9a-f]{8};\n\t\w{3}, \d\d? \w{3} \d{4} .*\nSubject: x\n/,
  );
  t.ok(text.endsWith("\n\n.dot\nbytes \x00\xff\n..two\nlast\n\n"));
});

t.test("-D appends whole messages, -S begins them, -n ends the sink, LMTP by a unix socket", async (t) => {
  const directory = folder(t);
  const path = join(directory, "socket");
  const all = join(directory, "all");
  const { ended } = start("smtp-sink", [
    ...AS_USER,
    "-L",
    "-n",
    "4",
    "-h",
    "me.example",
    "-D",
    all,
    "-S",
    "From x\\n\\101\\t\\\\",
    `unix:${path}`,
    "10",
  ]);
  await until("the socket", () => readdirSync(directory).includes("socket"));
  const source = start("smtp-source", [
    "-L",
    "-s",
    "2",
    "-m",
    "4",
    "-r",
    "2",
    "-M",
    "h",
    "-l",
    "100000",
    `unix:${path}`,
  ]);
  t.equal((await source.ended).status, 0);
  t.equal((await ended).status, 0, "-n ends it");
  const messages = readFileSync(all, "latin1").split("From x\nA\t\\X-Client-Addr: unix\n");
  t.equal(messages.length, 5);
  for (const message of messages.slice(1)) {
    t.match(
      message,
      /^X-Client-Proto: LMTP\nX-Helo-Args: h\nX-Mail-Args: <foo@h>\nX-Rcpt-Args: <foo\d@h>\nX-Rcpt-Args: <foo\d@h>\n/,
    );
    t.ok(message.length > 98_000 && message.endsWith("X\n\n"), "in one piece");
  }
});

t.test("-m: who is too many waits for a greeting; -t ends who is silent; a line without end", async (t) => {
  const { port, child, ended } = await sink(t, "-m", "1", "-t", "1");
  const first = await Client.open(port);
  await first.expect("", "220 smtp-sink ESMTP\r\n");
  const second = await Client.open(port);
  await first.expect("NOOP\r\n", "250 2.0.0 Ok\r\n");
  t.equal(second.heard, "", "nothing yet");
  first.socket.write("QUIT\r\n");
  await until("a greeting for the second", () => second.heard === "220 smtp-sink ESMTP\r\n");
  await until("the end of the silent one", () => second.ended);
  const third = await Client.open(port);
  third.socket.write("x".repeat(5000));
  await until("the end of the long line", () => third.ended);
  child.kill();
  t.equal(
    (await ended).stderr,
    "smtp-sink: warning: read timeout\nsmtp-sink: warning: command line too long\n",
  );
});

t.test("-R and -u: a jail and another user", { skip: isRoot ? false : "needs root" }, async (t) => {
  const directory = folder(t);
  const { port, child } = await sink(t, "-R", directory, "-d", "/dump.");
  const source = start("smtp-source", ["-t", "you@example.org", `127.0.0.1:${port}`]);
  t.equal((await source.ended).status, 0);
  t.equal(readdirSync(directory).filter((name) => name.startsWith("dump.")).length, 1);
  const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
  t.match(status, /^Uid:\t65534\t65534\t65534\t65534$/m);
  t.match(status, /^Groups:\t65534 $/m);
  const refused = start("smtp-sink", ["127.0.0.1:1", "10"]);
  t.match((await refused.ended).stderr, "smtp-sink: fatal: -u option is required if running as root\n");
});

t.test("smtp-source: delays, attempts to connect, places", async (t) => {
  const { port } = await sink(t);
  const begin = performance.now();
  t.equal(
    (await start("smtp-source", ["-w", "1", "-s", "3", "-m", "3", `127.0.0.1:${port}`]).ended).status,
    0,
  );
  const taken = performance.now() - begin;
  t.ok(taken >= 1000, `three at a time wait together: ${taken}`);
  t.equal((await start("smtp-source", ["-R", "1", `inet:[127.0.0.1]:${port}`]).ended).status, 0);
  const closed = await freePort();
  const [refused, wrongFamily, unknown, missing] = await Promise.all(
    [
      ["-C", "3", `127.0.0.1:${closed}`],
      ["-6", `127.0.0.1:${closed}`],
      ["127.0.0.1:nosuchservice"],
      ["unix:/nonexistent/socket"],
    ].map((args) => start("smtp-source", args).ended),
  );
  t.same(refused, {
    status: 1,
    stdout: "",
    stderr: `${"smtp-source: warning: connect: Connection refused\n".repeat(2)}smtp-source: fatal: connect: Connection refused\n`,
  });
  t.match(wrongFamily?.stderr, "Address family for hostname not supported");
  t.match(unknown?.stderr, "Servname not supported for ai_socktype");
  t.match(missing?.stderr, "fatal: connect: No such file or directory");
});
