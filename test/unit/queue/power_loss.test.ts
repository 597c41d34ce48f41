/**
 * DUR-07: the power goes after any operation. A journaling file system may have kept any prefix of the changes to names and modes, from the last
 * completed fsync on, and of what was written to a file since it was last synced all or nothing; of what was written to blocks that were marked as
 * unwritten, any of the blocks. In each of these states a scan at the start must find every message that was acknowledged and is not finished, and no
 * file that looks like a message may hold anything but one message, or what every reader refuses.
 */
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { Queues } from "../../../lib/queue/directories.ts";
import { type FileSystem, fileSystem } from "../../../lib/queue/file_system.ts";
import { createQueueFile, type QueueFile } from "../../../lib/queue/queue_file.ts";
import type { QueueId } from "../../../lib/queue/queue_id.ts";
import { RecordReader } from "../../../lib/queue/record_reader.ts";
import { Rec } from "../../../lib/queue/records.ts";
import { SpareFilesIn, SpareFilesOut } from "../../../lib/queue/spare_files.ts";
import { Random } from "../../fuzz/random.ts";
import { writeZeros } from "./write_zeros.ts";

const home = process.cwd();
const scratch = mkdtempSync(join(tmpdir(), "posthaste-power-"));
process.chdir(scratch);
process.umask(0o022);
t.teardown(() => {
  process.chdir(home);
  rmSync(scratch, { recursive: true });
});
const QUEUES = ["incoming", "active", "deferred", "spare"];
for (const queue of QUEUES) mkdirSync(queue);

type Operation =
  | { readonly kind: "create"; readonly path: string; readonly inode: bigint; readonly mode: number }
  | { readonly kind: "rename"; readonly from: string; readonly to: string }
  | { readonly kind: "unlink"; readonly path: string }
  | { readonly kind: "mode"; readonly inode: bigint; readonly mode: number }
  | { readonly kind: "truncate"; readonly inode: bigint; readonly size: number }
  | { readonly kind: "zero"; readonly inode: bigint; readonly length: number }
  /** Part of one block. */
  | { readonly kind: "write"; readonly inode: bigint; readonly at: number; readonly bytes: Buffer }
  /** Of anything writes the journal, and the data of one file. */
  | { readonly kind: "fsync"; readonly inode: bigint };

const BLOCK = 4096;
const RECORD_LIMIT = 2060;

/** The real file system, and what was done to it. */
class Recorder {
  readonly operations: Operation[] = [];
  readonly #inodes = new Map<number, bigint>();
  readonly #ends = new Map<bigint, number>();
  readonly #current = new Map<bigint, bigint>();
  #next = 1n;

  readonly files: FileSystem = {
    ...fileSystem,
    tryLock: () => true,
    open: (path, flags, mode) => {
      const isNew = !fileSystem.exists(path);
      const fd = fileSystem.open(path, flags, mode);
      const real = fileSystem.fstat(fd).inode;
      // a new file with the number of a removed one is another file
      if (isNew) this.#current.set(real, this.#next++);
      const inode = this.#known(real);
      this.#inodes.set(fd, inode);
      this.#ends.set(inode, 0);
      if (isNew) this.operations.push({ kind: "create", path, inode, mode });
      return fd;
    },
    write: (fd, bytes, start, length, position) => {
      const inode = this.#inode(fd);
      const at = position ?? this.#ends.get(inode) ?? 0;
      const written = fileSystem.write(fd, bytes, start, length, position);
      for (let done = 0; done < written; ) {
        const size = Math.min(written - done, BLOCK - ((at + done) % BLOCK));
        const part = Buffer.from(bytes.subarray(start + done, start + done + size));
        this.operations.push({ kind: "write", inode, at: at + done, bytes: part });
        done += size;
      }
      if (position === null) this.#ends.set(inode, at + written);
      return written;
    },
    fsync: async (fd) => {
      await fileSystem.fsync(fd);
      this.operations.push({ kind: "fsync", inode: this.#inode(fd) });
    },
    blockSize: () => BLOCK,
    zeroRange: (fd, length) => {
      writeZeros(fd, length);
      this.operations.push({ kind: "zero", inode: this.#inode(fd), length });
    },
    fchmod: (fd, mode) => {
      fileSystem.fchmod(fd, mode);
      this.operations.push({ kind: "mode", inode: this.#inode(fd), mode });
    },
    chmod: (path, mode) => {
      fileSystem.chmod(path, mode);
      this.operations.push({ kind: "mode", inode: this.#known(fileSystem.lstat(path).inode), mode });
    },
    ftruncate: (fd, size) => {
      fileSystem.ftruncate(fd, size);
      this.operations.push({ kind: "truncate", inode: this.#inode(fd), size });
    },
    rename: (from, to) => {
      fileSystem.rename(from, to);
      this.operations.push({ kind: "rename", from, to });
    },
    unlink: (path) => {
      fileSystem.unlink(path);
      this.operations.push({ kind: "unlink", path });
    },
  };

  #known(real: bigint): bigint {
    const known = this.#current.get(real) ?? this.#next++;
    this.#current.set(real, known);
    return known;
  }

  #inode(fd: number): bigint {
    const inode = this.#inodes.get(fd);
    if (inode === undefined) throw new Error(`descriptor ${fd}`);
    return inode;
  }
}

interface Inode {
  mode: number;
  data: Buffer;
}

/** Name and content of the files with the ready mode, when `kept` says of each operation whether it reached the disk. */
function recover(
  operations: ReadonlyArray<Operation>,
  kept: (operation: Operation, index: number) => boolean,
): Map<string, string> {
  const names = new Map<string, bigint>();
  const inodes = new Map<bigint, Inode>();
  const inodeOf = (inode: bigint): Inode => {
    let found = inodes.get(inode);
    if (found === undefined) {
      found = { mode: 0, data: Buffer.alloc(0) };
      inodes.set(inode, found);
    }
    return found;
  };
  const resize = (inode: Inode, size: number): void => {
    const data = Buffer.alloc(size);
    inode.data.copy(data);
    inode.data = data;
  };
  for (const [index, operation] of operations.entries()) {
    if (!kept(operation, index)) continue;
    switch (operation.kind) {
      case "create":
        names.set(operation.path, operation.inode);
        inodes.set(operation.inode, { mode: operation.mode, data: Buffer.alloc(0) });
        break;
      case "rename": {
        const inode = names.get(operation.from);
        if (inode === undefined) throw new Error(`${operation.from} is not there`);
        names.delete(operation.from);
        names.set(operation.to, inode);
        break;
      }
      case "unlink":
        names.delete(operation.path);
        break;
      case "mode":
        inodeOf(operation.inode).mode = operation.mode;
        break;
      case "truncate":
        resize(inodeOf(operation.inode), operation.size);
        break;
      case "write": {
        const inode = inodeOf(operation.inode);
        const end = operation.at + operation.bytes.length;
        if (end > inode.data.length) resize(inode, end);
        operation.bytes.copy(inode.data, operation.at);
        break;
      }
      case "zero": {
        const { data } = inodeOf(operation.inode);
        data.fill(0, 0, Math.min(operation.length, data.length));
        break;
      }
      case "fsync":
        break;
    }
  }
  const messages = new Map<string, string>();
  for (const [name, number] of names) {
    const { mode, data } = inodeOf(number);
    if ((mode & 0o100) !== 0) messages.set(name, data.toString("latin1"));
  }
  return messages;
}

interface Message {
  readonly id: string;
  readonly content: string;
  /** Number of operations before which it was promised, and after which it is nobody's any more. */
  promised: number;
  finished: number;
}

const TYPES = new Set<number>(Object.values(Rec));

/** Whether every reader finds that this is no whole message. */
function isRefused(content: string): boolean {
  writeFileSync("refused", content, "latin1");
  const fd = openSync("refused", "r");
  try {
    const reader = new RecordReader(fd, "refused");
    for (let type = reader.read(); type !== Rec.END; type = reader.read()) if (!TYPES.has(type)) return true;
    return false;
  } finally {
    closeSync(fd);
  }
}

const blocks = new Random(20261130);

/** Every state that a crash after any operation can leave, and of those with some of many blocks a few. */
function* crashes(
  operations: ReadonlyArray<Operation>,
): Generator<{ readonly at: number; readonly found: Map<string, string> }> {
  for (let at = 0; at <= operations.length; at++) {
    let journal = -1;
    const data = new Map<bigint, number>();
    const zeroed = new Map<bigint, number>();
    for (const [index, operation] of operations.slice(0, at).entries()) {
      if (operation.kind === "fsync") {
        journal = index;
        data.set(operation.inode, index);
      }
      if (operation.kind === "zero") zeroed.set(operation.inode, index);
    }
    for (let prefix = journal; prefix < at; prefix++)
      for (const written of ["nothing", "everything", "some blocks"] as const)
        yield {
          at,
          found: recover(operations.slice(0, at), (operation, index) => {
            if (operation.kind !== "write") return index <= prefix;
            if (index <= (data.get(operation.inode) ?? -1)) return true;
            if (written !== "some blocks") return written === "everything";
            const marked = zeroed.get(operation.inode) ?? Number.POSITIVE_INFINITY;
            return marked <= prefix && marked < index && blocks.chance(2);
          }),
        };
  }
}

/** Judges every state that a crash may leave. */
function judge(t: Test, operations: ReadonlyArray<Operation>, messages: ReadonlyArray<Message>): number {
  const contents = new Set(messages.map(({ content }) => content));
  let states = 0;
  const lost: string[] = [];
  const mixed: string[] = [];
  for (const { at, found } of crashes(operations)) {
    states++;
    for (const message of messages)
      if (
        message.promised <= at &&
        at < message.finished &&
        ![...found].some(([name, content]) => name.endsWith(`/${message.id}`) && content === message.content)
      )
        lost.push(`${message.id} after ${at}`);
    // a file without content was never promised, and is put aside
    for (const [name, content] of found)
      if (content !== "" && !contents.has(content) && !isRefused(content))
        mixed.push(`${name} after ${at}: ${content.slice(0, 60)}`);
  }
  t.same(lost, []);
  t.same(mixed, []);
  return states;
}

t.test(
  "invariant 5: whatever lives messages have, what was promised and is not finished is there",
  async (t) => {
    const random = new Random(20261129);
    let states = 0;
    for (let round = 0; round < 12; round++) {
      const { operations, files } = new Recorder();
      const queues = new Queues(
        { hashQueueNames: "deferred", hashQueueDepth: 1, longQueueIds: false },
        files,
      );
      const spares = new SpareFilesIn(queues, 10, RECORD_LIMIT);
      const out = new SpareFilesOut(queues, 10);
      const messages: Message[] = [];
      const places = new Map<Message, string>();
      for (let step = 0; step < 25; step++) {
        const [message, place] = random.pick([...places]) ?? [];
        const id = message?.id as QueueId;
        switch (random.pick(["accept", "accept", "move", "move", "finish", "look", "give up"])) {
          case "accept":
          case "give up": {
            const file = await createQueueFile(queues, "incoming", { spares });
            const mark = `${round}.${step}`;
            file.writer.put(Rec.FROM, `${mark}@example.org`);
            for (let line = random.below(40); line > 0; line--)
              file.writer.put(Rec.NORMAL, `${mark} `.repeat(30));
            file.writer.put(Rec.END, mark);
            if (random.chance(6)) {
              file.discard();
              break;
            }
            const { path } = file;
            t.same(await file.commit(), { status: 0 });
            const content = recover(operations, () => true).get(path) ?? "";
            const accepted = {
              id: file.id,
              content,
              promised: operations.length,
              finished: Number.POSITIVE_INFINITY,
            };
            messages.push(accepted);
            places.set(accepted, "incoming");
            break;
          }
          case "move":
            if (message === undefined || place === undefined) break;
            places.set(message, place === "active" ? "deferred" : "active");
            queues.move(id, place, place === "active" ? "deferred" : "active");
            break;
          case "finish":
            if (message === undefined || place === undefined) break;
            message.finished = operations.length;
            places.delete(message);
            if (!random.chance(2) || !out.layDown(place, id, message.content.length))
              queues.remove(place, id);
            break;
          default:
            await spares.look();
        }
      }
      states += judge(t, operations, messages);
      for (const [{ id }, place] of places) queues.remove(place, id as QueueId);
      out.clear();
    }
    t.ok(states > 2000, `${states} states`);
  },
);

t.test("DUR-07 the power goes after any operation of any message's life", async (t) => {
  const recorder = new Recorder();
  const { operations, files } = recorder;
  const queues = new Queues({ hashQueueNames: "deferred", hashQueueDepth: 1, longQueueIds: false }, files);
  const spares = new SpareFilesIn(queues, 10, RECORD_LIMIT);
  const out = new SpareFilesOut(queues, 10);
  const messages: Message[] = [];

  const begin = (): Promise<QueueFile> => createQueueFile(queues, "incoming", { spares });
  const write = (file: QueueFile, mark: string, lines: number): string => {
    file.writer.put(Rec.FROM, `${mark}@example.org`);
    for (let line = 0; line < lines; line++) file.writer.put(Rec.NORMAL, `${mark} ${line} `.repeat(20));
    file.writer.put(Rec.END, mark);
    return mark;
  };
  const commit = async (file: QueueFile): Promise<Message> => {
    const start = operations.length;
    t.same(await file.commit(), { status: 0 });
    const whole = recover(operations, () => true).get(file.path) ?? "";
    t.ok(whole.length > 0 && start > 0);
    const message = {
      id: file.id,
      content: whole,
      promised: operations.length,
      finished: Number.POSITIVE_INFINITY,
    };
    messages.push(message);
    return message;
  };
  const accept = async (mark: string, lines: number): Promise<Message> => {
    const file = await begin();
    write(file, mark, lines);
    return await commit(file);
  };
  const move = (message: Message, from: string, to: string): void =>
    queues.move(message.id as QueueId, from, to);
  const finish = (message: Message, how: "remove" | "lay down"): void => {
    message.finished = operations.length;
    const id = message.id as QueueId;
    if (how === "remove") queues.remove("active", id);
    else t.ok(out.layDown("active", id, message.content.length), "laid down");
  };

  const first = await accept("first", 30);
  const second = await accept("second", 3);
  move(first, "incoming", "active");
  move(first, "active", "deferred");
  move(second, "incoming", "active");
  finish(second, "lay down");
  const third = await begin();
  write(third, "third", 10);
  move(first, "deferred", "active");
  const whole = await commit(third);
  finish(first, "lay down");
  move(whole, "incoming", "active");
  await spares.look();
  // shorter and longer than what was in the files
  const fourth = await accept("fourth", 1);
  const fifth = await accept("fifth", 60);
  t.equal(operations.filter(({ kind }) => kind === "zero").length, 2, "two were written over old ones");
  finish(whole, "remove");
  move(fourth, "incoming", "active");
  move(fifth, "incoming", "active");
  const given = await begin();
  write(given, "given up", 5);
  given.discard();
  finish(fourth, "lay down");
  finish(fifth, "lay down");
  await spares.look();
  const last = await accept("last", 20);
  move(last, "incoming", "deferred");

  const states = judge(t, operations, messages);
  t.ok(states > 200, `${states} states of ${operations.length} operations`);
});
