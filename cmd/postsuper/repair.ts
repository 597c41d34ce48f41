/** Repairs the queue's structure: left-over files, names that do not match their inode, files in the wrong hash directory (queue.md 33.4). */
import { fatal, onDeath, runDeathCleanups, verbose, warning } from "../../lib/log/log.ts";
import { queues } from "../../lib/queue/configured_queues.ts";
import { isReady } from "../../lib/queue/directories.ts";
import type { FileStatus } from "../../lib/queue/file_system.ts";
import { inodeOf, isLongQueueId, isQueueId, type QueueId, withInode } from "../../lib/queue/queue_id.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import { removeFile, renameFile } from "./actions.ts";
import { type KnownQueue, LOG_QUEUES, queueKind } from "./queue_list.ts";
import type { Report } from "./report.ts";
import { walk } from "./walk.ts";

export interface Repairs {
  /** -p: remove unfinished files that are too old. */
  readonly purge: boolean;
  /** -s: names and places. */
  readonly structure: boolean;
  /** -S: long names must match their inode too. */
  readonly redundant: boolean;
}

/** Ends a name that already fits its inode, until nothing can lie under the final one. */
const FIX = "#FIX";
const STALE_SECONDS = 7 * 86_400;

export async function repair(
  names: ReadonlyArray<KnownQueue>,
  repairs: Repairs,
  report: Report,
): Promise<void> {
  const unwatch = warnWhenInterrupted(report);
  const first: Pass = { repairs, report, finishing: false, unfinished: false };
  await runPass(names, first);
  // a renamed file gets its final name only when no other can still have it; its logs may lie in queues that were not named
  if (report.renamed > 0 || first.unfinished)
    await runPass([...new Set([...LOG_QUEUES, ...names])], { ...first, finishing: true });
  unwatch();
}

interface Pass {
  readonly repairs: Repairs;
  readonly report: Report;
  /** Names are final now. */
  readonly finishing: boolean;
  /** Files with temporary names were seen, of this run or of an interrupted one. */
  unfinished: boolean;
}

async function runPass(names: ReadonlyArray<KnownQueue>, pass: Pass): Promise<void> {
  for (const queue of names)
    await walk(
      queue,
      queueKind(queue).hashed,
      (path, name) => visit(queue, path, name, pass),
      (directory, depth) => {
        if (pass.repairs.structure && depth > queues().depth(queue)) removeDirectory(directory, pass);
      },
    );
}

function visit(queue: KnownQueue, path: string, name: string, pass: Pass): void {
  const { repairs } = pass;
  const status = statusOf(path);
  if (status === undefined) return;
  if (status.directory) {
    try {
      queues().files.rmdir(path);
    } catch (error) {
      warning(`remove subdirectory ${path}: ${errorText(error)}`);
    }
    return;
  }
  const { messages } = queueKind(queue);
  const stale = Date.now() / 1000 - status.modified > STALE_SECONDS;
  if (!status.regular || (repairs.purge && messages && !isReady(status.mode) && stale)) {
    removeFile(path);
    return;
  }
  if (repairs.structure && name.length > FIX.length && name.endsWith(FIX)) {
    if (pass.finishing) finishRename(queue, path, name.slice(0, -FIX.length), status, messages);
    else pass.unfinished = true;
    return;
  }
  if (!isQueueId(name)) {
    warning(`bogus file name: ${path}`);
    return;
  }
  if (!repairs.structure) return;
  if (messages && !matchInode(queue, path, name, status, pass)) return;
  const proper = queues().path(queue, name);
  if (path !== proper) renameFile(path, proper);
}

function finishRename(
  queue: KnownQueue,
  path: string,
  name: string,
  status: FileStatus,
  messages: boolean,
): void {
  if (!isQueueId(name)) warning(`bogus file name: ${path}`);
  else if (messages && inodeOf(name) !== status.inode) warning(`name/inode mismatch: ${path}`);
  else renameFile(path, queues().path(queue, name));
}

/** False when the file was renamed, or when its name makes no sense. */
function matchInode(
  queue: KnownQueue,
  path: string,
  id: QueueId,
  status: FileStatus,
  { repairs, report }: Pass,
): boolean {
  const long = isLongQueueId(id);
  const inode = inodeOf(id);
  if (inode === undefined) {
    warning(`bogus file name: ${path}`);
    return false;
  }
  const differs = inode !== status.inode && (!long || repairs.redundant);
  if (!differs && !(long && !queues().longIds)) return true;
  report.renaming = true;
  const renamed = withInode(id, status.inode, queues().longIds);
  for (const log of LOG_QUEUES) {
    const old = queues().path(log, id);
    if (statusOf(old) !== undefined) renameFile(old, queues().path(log, renamed) + FIX);
  }
  if (renameFile(path, queues().path(queue, renamed) + FIX)) report.renamed++;
  return false;
}

function statusOf(path: string): FileStatus | undefined {
  try {
    return queues().files.lstat(path);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    warning(`${path}: ${errorText(error)}`);
    return undefined;
  }
}

function removeDirectory(directory: string, pass: Pass): void {
  verbose(() => `remove directory ${directory}`);
  try {
    queues().files.rmdir(directory);
  } catch (error) {
    const code = errorCode(error);
    if (code === "ENOTEMPTY" && !pass.finishing && pass.unfinished) return;
    if (code !== "ENOENT") fatal(`remove directory ${directory}: ${errorText(error)}`);
  }
}

/** A half-done renaming must be finished before anything else: whether a signal ended it or an error. */
function warnWhenInterrupted(report: Report): () => void {
  const forget = onDeath(() => {
    if (report.renaming) warning("OPERATION INCOMPLETE -- RERUN COMMAND TO FIX THE QUEUE FIRST");
  });
  const interrupted = (): never => {
    runDeathCleanups();
    process.exit(1);
  };
  const signals = ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM"] as const;
  for (const signal of signals) process.on(signal, interrupted);
  return () => {
    forget();
    for (const signal of signals) process.off(signal, interrupted);
  };
}
