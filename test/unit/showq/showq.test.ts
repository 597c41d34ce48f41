/** A queue made of the captured files, with logs, listed as the reference listed it. */
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { listQueue } from "../../../cmd/showq/list.ts";
import { configurationFromText, installConfiguration } from "../../../lib/config/configuration.ts";
import { setLogSinks } from "../../../lib/log/log.ts";
import { Channel } from "../../../lib/sys/channel.ts";

const vectors = join(import.meta.dirname, "../../vectors/queue");
const home = process.cwd();
const scratch = mkdtempSync(join(tmpdir(), "posthaste-showq-"));
process.chdir(scratch);
t.teardown(() => {
  process.chdir(home);
  rmSync(scratch, { recursive: true });
});
installConfiguration(configurationFromText("compatibility_level = 3.11\nmyhostname = mail.example.com"));
const quiet = setLogSinks([]);
t.teardown(() => setLogSinks(quiet));

const QUEUES = ["active", "incoming", "deferred", "hold"] as const;
const FIRST_ENTRY = readFileSync(join(vectors, "logs/defer_log_one"), "latin1");
const DEFER_LOG = `${FIRST_ENTRY}\n<s@old>: old \x01 style \xc3\xa9\n\n\nrecipient=d1@dead.example\noriginal_recipient=Orig@x\nreason=why not\n\nrecipient=\nreason=\n\nbogus line\nreason=r\n\n`;

/** How the reference's queue was made. */
function makeQueue(): void {
  for (const name of [...QUEUES, "maildrop", "defer", "bounce"]) mkdirSync(name);
  const names = readdirSync(join(vectors, "files"))
    .filter((name) => name.endsWith(".qf"))
    .sort();
  for (const [index, name] of names.entries()) {
    const number = index + 1;
    const hex = (value: number, width = 0): string => value.toString(16).toUpperCase().padStart(width, "0");
    const id = hex(number * 4099, 5) + hex(0x1000 + number);
    const queue = QUEUES[number % 4] ?? "active";
    const directory = queue === "deferred" ? `deferred/${id[0]}` : queue;
    mkdirSync(directory, { recursive: true });
    const path = `${directory}/${id}`;
    copyFileSync(join(vectors, "files", name), path);
    chmodSync(path, number % 5 === 0 ? 0o710 : 0o700);
    utimesSync(path, 1_795_000_000, 1_795_000_000);
    if (number % 3 === 0) {
      mkdirSync(`defer/${id[0]}`, { recursive: true });
      writeFileSync(`defer/${id[0]}/${id}`, DEFER_LOG, "latin1");
    }
    if (number % 4 === 0)
      writeFileSync(`bounce/${id}`, "\nrecipient=a@sink.example\nreason=bounced\n\nrecipient=unfinished\n");
  }
}

function collector(): { channel: Channel; text: () => string } {
  const channel = new Channel("client");
  let received = "";
  channel.attach({
    write: (bytes) => {
      received += Buffer.from(bytes).toString("latin1");
      return bytes.length;
    },
    end: () => undefined,
    terminate: () => undefined,
    pause: () => undefined,
    resume: () => undefined,
  });
  return { channel, text: () => received };
}

function parse(stream: string): Record<string, Array<[string, string]>> {
  const messages: Record<string, Array<[string, string]>> = {};
  const words = stream.split("\0");
  for (let at = 0; at < words.length - 1; at++) {
    const message: Array<[string, string]> = [];
    for (; words[at] !== ""; at += 2) message.push([words[at] ?? "", words[at + 1] ?? ""]);
    messages[`${message[0]?.[1]}/${message[1]?.[1]}`] = message;
  }
  return messages;
}

t.test("QUE-12 as the reference", async (t) => {
  makeQueue();
  const { channel, text } = collector();
  for (const queue of QUEUES) await listQueue(channel, queue, true);
  await channel.flush();
  t.same(parse(text()), JSON.parse(readFileSync(join(vectors, "showq_reference.json"), "utf8")));
});

t.test("QUE-06 damaged files end their own entry and nothing else", async (t) => {
  const { channel, text } = collector();
  const good = readFileSync(join(vectors, "files/maildrop_simple.qf"));
  const put = (name: string, bytes: Buffer, mode = 0o744): void => {
    writeFileSync(`maildrop/${name}`, bytes);
    chmodSync(`maildrop/${name}`, mode);
  };
  for (let length = 0; length < good.length; length += 3) put(`CUT${length}`, good.subarray(0, length));
  for (let at = 0; at < good.length; at += 3) {
    const damaged = Buffer.from(good);
    damaged[at] = 0;
    put(`NUL${at}`, damaged);
  }
  put("GOOD", good);
  put("NOTREADY", good, 0o644);
  mkdirSync("maildrop/DIRECTORY", { mode: 0o700 });
  await listQueue(channel, "maildrop", false);
  await channel.flush();
  const messages = parse(text());
  t.equal(messages["maildrop/GOOD"]?.length, 6 + 3 * 4);
  t.notOk(messages["maildrop/NOTREADY"]);
});

t.test("a long list of recipients waits for its client", async (t) => {
  const recipients = Array.from(
    { length: 5000 },
    (_, index) => `R\x0cuser${String(index).padStart(5, "0")}@xy`,
  ).join("");
  writeFileSync("hold/LONG1", `T\x011S\x01a${recipients}M\0N\0X\0E\0`, "latin1");
  chmodSync("hold/LONG1", 0o700);
  const { channel, text } = collector();
  await listQueue(channel, "hold", true);
  await channel.flush();
  t.equal(parse(text())["hold/LONG1"]?.length, 6 + 5000 * 4);
});

t.test("a listing leaves no trace in the files it reads", async (t) => {
  mkdirSync("defer/N", { recursive: true });
  mkdirSync("deferred/N", { recursive: true });
  const paths = ["deferred/N/NOTE1", "defer/N/NOTE1"];
  writeFileSync("deferred/N/NOTE1", "T\x011S\x01aR\x03x@yM\0N\0X\0E\0", "latin1");
  writeFileSync("defer/N/NOTE1", "\nrecipient=x@y\nreason=r\n\n");
  const ahead = Date.now() / 1000 + 3600;
  for (const path of paths) {
    chmodSync(path, 0o700);
    utimesSync(path, ahead - 7200, ahead);
  }
  const { channel, text } = collector();
  await listQueue(channel, "deferred", true);
  await channel.flush();
  t.match(parse(text())["deferred/NOTE1"], [["queue_name", "deferred"]]);
  for (const path of paths)
    t.equal(Math.round(statSync(path).atimeMs / 1000), Math.round(ahead - 7200), path);
});
