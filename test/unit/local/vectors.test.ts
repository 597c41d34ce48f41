/** local(8) against what a real Postfix logged: aliases, .forward files, transports (test/vectors/delivery/local-*.json). */
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import t, { type Test } from "tap";
import { Instance } from "../delivery/support/instance.ts";

interface Case {
  readonly case: string;
  readonly rcpts: ReadonlyArray<string>;
  readonly log: ReadonlyArray<string>;
  readonly mailbox?: Readonly<Record<string, string | null>>;
  readonly forward_files?: ReadonlyArray<string>;
}

const vectors = (name: string): { cases: Case[]; aliases?: string; include_file?: string } =>
  JSON.parse(readFileSync(new URL(`../../vectors/delivery/${name}.json`, import.meta.url), "utf8"));

const USERS: Readonly<Record<string, readonly [number, number]>> = {
  games: [5, 60],
  news: [9, 9],
  list: [38, 38],
};
const SENDER = "sender@remote.example";
const CONTENT = [
  "Received: by test.example (Postfix)",
  "From: sender@remote.example",
  "To: x@example.com",
  "Subject: test",
  "Message-Id: <fixed@id>",
  "Date: now",
  "",
  "body",
];

const isRoot = process.getuid?.() === 0;
const usersExist = ["games", "news", "list"].every((name) =>
  new RegExp(`^${name}:`, "m").test(readFileSync("/etc/passwd", "latin1")),
);

/** Lines of the agent itself, those of the original message only, with ids and places made equal. */
const normal = (line: string, directory: string): string =>
  line
    .replaceAll(directory, "$TEST")
    .replace(/\bM1D\b/, "QUEUEID")
    .replace(/forwarded as \w+/, "forwarded as ID")
    .replace(/\d{10}\.P\d+\.[^:]+/g, "FILE");

t.setTimeout(180_000);

t.test(
  "local vectors",
  { skip: isRoot && usersExist ? false : "needs root and Debian's system users" },
  async (t) => {
    t.setTimeout(150_000);
    const setUp = async (t: Test): Promise<Instance> => {
      const instance = new Instance();
      t.teardown(() => instance.close());
      await instance.fakeBounce();
      await instance.fakeCleanup();
      await instance.fakeRewrite("example.com");
      mkdirSync(instance.path("spool"));
      chmodSync(instance.path("spool"), 0o1777);
      mkdirSync(instance.path("alias"));
      chmodSync(instance.path("alias"), 0o1777);
      for (const [user, [uid, gid]] of Object.entries(USERS)) {
        mkdirSync(instance.path("home", user), { recursive: true });
        chownSync(instance.path("home", user), uid, gid);
      }
      writeFileSync(instance.path("cmd.sh"), "#!/bin/sh\ncat >/dev/null\n", { mode: 0o755 });
      writeFileSync(instance.path("aliases"), "");
      instance.configure(
        [
          "compatibility_level = 3.11",
          "myhostname = mail.example.com",
          "myorigin = example.com",
          "mydestination = mail.example.com, example.com, localhost",
          "inet_interfaces = loopback-only",
          "recipient_delimiter = +",
          "biff = no",
          "command_time_limit = 1s",
          `alias_maps = texthash:${instance.path("aliases")}`,
          `mail_spool_directory = ${instance.path("spool")}`,
          `forward_path = ${instance.path("home")}/$user/.forward\${recipient_delimiter}\${extension}, ${instance.path("home")}/$user/.forward`,
          "",
        ].join("\n"),
      );
      return instance;
    };

    const run = async (
      t: Test,
      instance: Instance,
      test: Case,
      flags = 1,
      options: ReadonlyArray<string> = [],
      content = CONTENT,
      sender = SENDER,
    ): Promise<void> => {
      const message = instance.store("M1D", sender, test.rcpts, content);
      const { log, reply } = await instance.deliver("local", message, sender, test.rcpts, flags, options);
      const own = test.log
        .filter((line) => /^postfix\/local: (?![0-9A-F]{8,}:)/.test(line))
        .map((line) => line.replace("postfix/local: ", ""));
      t.same(
        log.map((line) => normal(line, instance.directory)).sort(),
        own.map((line) => normal(line, "$TEST")).sort(),
        test.case,
      );
      const deferred = own.some((line) => line.includes("status=deferred"));
      t.equal(reply?.status, deferred ? -1 : 0, `${test.case}: final status`);
    };

    await t.test("aliases", async (t) => {
      const { cases, aliases = "", include_file = "" } = vectors("local-alias");
      const instance = await setUp(t);
      const entries = aliases
        .replaceAll("$TEST", instance.directory)
        .split("\n")
        .filter((line) => /:\s*\S/.test(line));
      writeFileSync(
        instance.path("aliases"),
        `${entries.map((line) => line.replace(":", " ")).join("\n")}\n`,
      );
      writeFileSync(instance.path("alias/list"), include_file);
      for (const test of cases) await run(t, instance, test);
    });

    await t.test(".forward", async (t) => {
      const { cases } = vectors("local-forward");
      const instance = await setUp(t);
      writeFileSync(
        instance.path("aliases"),
        "postmaster games\nmailer-daemon postmaster\ntotwo games, news\ntofile $TEST/alias/mboxfile\ntocmd |$TEST/cmd.sh\n",
      );
      for (const test of cases) {
        // probes and address forms that need aliases or raw envelopes have their own tests
        if (["verify", "usrverify", "null user", "fwd home"].includes(test.case)) continue;
        if (["delivered-to loop", "mbox", "badext"].includes(test.case)) clearHomes(instance);
        for (const file of test.forward_files ?? []) createForward(instance, file);
        for (const name of readdirSync(instance.path("spool"))) rmSync(instance.path("spool", name));
        const content =
          test.case === "delivered-to loop" ? ["Delivered-To: GAMES@example.com", ...CONTENT] : CONTENT;
        if (test.case === "mbox") {
          const quoted = [
            "Received: by test.example (Postfix)",
            "From: x@y",
            "Message-Id: <fixed@id>",
            "Date: n",
            "",
            "From me",
            ">From you",
            "line",
          ];
          await run(t, instance, test, 1, [], quoted, "");
        } else await run(t, instance, test, 1, [], content);
        for (const [user, text] of Object.entries(test.mailbox ?? {})) {
          // second-hand deliveries need the whole system
          if (text === null || text.includes("id ")) continue;
          const path = instance.path("spool", user);
          t.ok(existsSync(path), `${test.case}: mailbox of ${user}`);
          const dated = (mailbox: string): string => mailbox.replace(/^(From \S+ {2}).*/, "$1DATE");
          t.equal(dated(readFileSync(path, "latin1")), dated(text), `${test.case}: content of the mailbox`);
        }
      }
    });

    await t.test("DLV-21 empty and circular :include: files do not pass in silence", async (t) => {
      const instance = await setUp(t);
      const alias = instance.path("alias");
      writeFileSync(
        instance.path("aliases"),
        `empty :include:${alias}/empty\nring :include:${alias}/a\nmixed :include:${alias}/a, games\n`,
      );
      writeFileSync(`${alias}/empty`, "# nobody\n");
      writeFileSync(`${alias}/a`, `:include:${alias}/b\n`);
      writeFileSync(`${alias}/b`, `:include:${alias}/a\n`);
      const outcome = async (recipient: string): Promise<string | undefined> => {
        const message = instance.store("M1D", SENDER, [recipient], CONTENT);
        const { log } = await instance.deliver("local", message, SENDER, [recipient]);
        return log.find((line) => line.includes("status="))?.replace(/.*dsn=/, "");
      };
      t.equal(await outcome("empty@example.com"), "4.3.0, status=deferred (alias database unavailable)");
      t.equal(
        await outcome("ring@example.com"),
        "5.4.6, status=bounced (mail forwarding loop for ring@example.com)",
      );
      t.equal(await outcome("mixed@example.com"), "2.0.0, status=sent (delivered to mailbox)");
    });

    await t.test("marks the recipient done, and a broken queue file corrupt", async (t) => {
      const instance = await setUp(t);
      const message = instance.store("M1D", SENDER, ["games@example.com"], CONTENT);
      await instance.deliver("local", message, SENDER, ["games@example.com"]);
      const bytes = readFileSync(instance.path("queue/active/M1D"));
      t.equal(String.fromCharCode(bytes[message.recipients[0] ?? 0] ?? 0), "D");
      const bad = instance.store("M2D", SENDER, ["games@example.com"], CONTENT);
      const path = instance.path("queue/active/M2D");
      const broken = readFileSync(path);
      broken[bad.dataOffset + bad.size] = 0x5a;
      writeFileSync(path, broken);
      const size = readFileSync(instance.path("spool/games")).length;
      const { log, reply } = await instance.deliver("local", bad, SENDER, ["games@example.com"]);
      t.same(log, [
        "warning: bad record type: 90 in message content",
        "warning: corrupted queue file: active/M2D",
      ]);
      t.equal(reply?.status, -1);
      t.equal(readFileSync(instance.path("spool/games")).length, size, "what was written is taken back");
    });
  },
);

function clearHomes(instance: Instance): void {
  for (const user of Object.keys(USERS))
    for (const name of readdirSync(instance.path("home", user))) rmSync(instance.path("home", user, name));
}

/** `'games','news\n','+foo',mode=0o666,uid=9`. */
function createForward(instance: Instance, text: string): void {
  const parts = /^'(\w+)','((?:[^'\\]|\\.)*)'(?:,'([^']*)')?(?:,mode=0o(\d+))?(?:,uid=(\d+))?$/.exec(text);
  if (parts === null) throw new Error(`forward file: ${text}`);
  const [, user = "", contents = "", suffix = "", mode = "644", uid] = parts;
  const path = instance.path("home", user, `.forward${suffix}`);
  const real = contents
    .replace(/\\(.)/g, (_, letter: string) => (letter === "n" ? "\n" : letter))
    .replaceAll("$TEST", instance.directory);
  rmSync(path, { force: true });
  writeFileSync(path, real);
  chmodSync(path, Number.parseInt(mode, 8));
  const [own = 0, group = 0] = USERS[user] ?? [];
  chownSync(path, uid === undefined ? own : Number(uid), group);
}
