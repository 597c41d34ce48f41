/** Building one table from its source file or, incrementally, from standard input. */

import { parameter } from "../config/configuration.ts";
import { type LogicalLine, LogicalLineReader } from "../config/lines.ts";
import { Progress } from "../daemon/progress.ts";
import { fatal, warning } from "../log/log.ts";
import { fromBytes, isValidUtf8, pathOf } from "../sys/bytes.ts";
import { errorCode, errorText } from "../sys/errno.ts";
import { closeSync, fstatSync, openSync, readFileSync, type Stats, statSync } from "../sys/fs.ts";
import { effectiveUid, setEffectiveGid, setEffectiveUid, setGroups } from "../sys/identity.ts";
import { directoryOf } from "../sys/paths.ts";
import { type IndexBuilder, openBuilder } from "../tables/build.ts";
import { encodeFiles } from "../tables/files.ts";
import { PlainLine } from "../tables/source.ts";
import { TableFlag } from "../tables/table.ts";
import type { MakerOptions } from "./options.ts";
import type { MakerProgram } from "./program.ts";

interface Source {
  readonly bytes: Buffer;
  readonly stat: Stats;
}

/** Builds the index of `[type:]name`; every fault is fatal. */
export async function buildTable(
  program: MakerProgram,
  operand: string,
  options: MakerOptions,
  incremental: boolean,
): Promise<void> {
  const colon = operand.indexOf(":");
  const type = colon < 0 ? parameter("default_database_type") : operand.slice(0, colon);
  const name = operand.slice(colon + 1);
  if (type === "proxy" && !incremental) fatal("can't create maps via the proxy service");
  const source = incremental ? readSource(0, "stdin") : openSource(name);
  const release = incremental ? () => {} : takeIdentity(name, source.stat, options);
  const mask =
    options.copyPermissions && source.stat.isFile()
      ? process.umask(0o22 | (~source.stat.mode & 0o077))
      : undefined;

  const builder = await openBuilder(type, name, incremental ? "update" : "rebuild", options.flags);
  await addLines(program, builder, options, source.bytes, incremental ? "stdin" : name);
  await program.complete(builder);
  await builder.finish();
  if (mask !== undefined) process.umask(mask);
  release();
}

/** Adds what a source says. In a function of its own, so that a long source is forgotten before the index is written. */
async function addLines(
  program: MakerProgram,
  builder: IndexBuilder,
  options: MakerOptions,
  bytes: Buffer,
  title: string,
): Promise<void> {
  const utf8 = (options.flags & TableFlag.utf8_request) !== 0 && parameter("smtputf8_enable");
  const progress = new Progress((count) => `${title}: ${count} lines`);
  const lines = new LogicalLineReader(fromBytes(bytes), title, warning);
  const plain = new PlainLine(bytes);
  const plainLines = program.plainLines && (options.flags & TableFlag.src_rhs_is_file) === 0;
  for (;;) {
    progress.step();
    if (plainLines && builder.addPlain !== undefined && plain.read(lines.position)) {
      builder.addPlain(plain);
      lines.skipTo(plain.next);
      continue;
    }
    const line = lines.next();
    if (line === undefined) break;
    const record = readLine(program, options, line, utf8, title);
    if (record === undefined) continue;
    const added = builder.add(record.key, record.value);
    if (added instanceof Promise) await added;
  }
  progress.end();
}

/** The record of a line; undefined, with a warning, when it has none. */
function readLine(
  program: MakerProgram,
  options: MakerOptions,
  line: LogicalLine,
  utf8: boolean,
  title: string,
): { readonly key: string; readonly value: string } | undefined {
  const complain = (problem: string): void => warning(`${title}, line ${line.line}: ${problem}`);
  if (utf8 && !isValidUtf8(line.text)) {
    complain(`non-UTF-8 input "${line.text}" -- ignoring this line`);
    return undefined;
  }
  const record = program.parse(line);
  if (record.problem !== undefined) complain(record.problem);
  if (record.kind === "skip") return undefined;
  if ((options.flags & TableFlag.src_rhs_is_file) === 0) return record;
  const encoded = encodeFiles(record.value);
  if (encoded.ok) return { key: record.key, value: encoded.base64 };
  complain(`${encoded.problem}: skipping this entry`);
  return undefined;
}

function openSource(name: string): Source {
  try {
    const fd = openSync(pathOf(name), "r");
    try {
      return readSource(fd, name);
    } finally {
      closeSync(fd);
    }
  } catch (failure) {
    if (errorCode(failure) === undefined) throw failure;
    return fatal(`open ${name}: ${errorText(failure)}`);
  }
}

const readSource = (fd: number, title: string): Source => {
  try {
    return { stat: fstatSync(fd), bytes: readFileSync(fd) };
  } catch (failure) {
    if (errorCode(failure) === undefined) throw failure;
    return fatal(`read ${title}: ${errorText(failure)}`);
  }
};

/** As root, becomes the owner of a source that is not root's: an index of his is written with his rights. Returns the way back. */
function takeIdentity(name: string, source: Stats, options: MakerOptions): () => void {
  const nothing = (): void => {};
  if (process.getuid?.() !== 0 || effectiveUid() !== 0 || options.keepRoot) return nothing;
  if (source.uid !== 0) {
    setGroups([source.gid]);
    setEffectiveGid(source.gid);
    setEffectiveUid(source.uid);
    return () => {
      setEffectiveUid(0);
      setEffectiveGid(0);
      setGroups([0]);
    };
  }
  const directory = directoryOf(name);
  if (statSync(pathOf(directory)).uid !== 0)
    warning(
      `Creating root-owned database file(s) ${name}.* in non-root-owned directory ${directory}. ` +
        `Files ${name}, ${name}.*, and directory ${directory} should have the same owner. ` +
        "Please fix ownership to avoid a privilege-escalation attack.",
    );
  return nothing;
}
