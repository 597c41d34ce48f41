import { readFileSync } from "node:fs";
import { Addresses } from "../../../cmd/cleanup/addresses.ts";
import { Message } from "../../../cmd/cleanup/message.ts";
import { MessageProcessor, Pipeline } from "../../../cmd/cleanup/processor.ts";
import {
  type CheckTables,
  type CleanupTables,
  type NameList,
  readSettings,
} from "../../../cmd/cleanup/settings.ts";
import { rewriteAddress } from "../../../cmd/trivial-rewrite/rewrite.ts";
import type { AddressLookupResult } from "../../../lib/address/lookup.ts";
import { configurationFromText, installConfiguration, parameter } from "../../../lib/config/configuration.ts";
import { removed } from "../../../lib/log/events/cleanup.ts";
import { log, setLogSinks, setLogUtf8 } from "../../../lib/log/log.ts";
import { type FileSystem, fileSystem } from "../../../lib/queue/file_system.ts";
import { parseQueueId } from "../../../lib/queue/queue_id.ts";
import { RecordDecoder } from "../../../lib/queue/record_decoder.ts";
import { RecordBuffer, RecordWriter } from "../../../lib/queue/record_writer.ts";
import { lowerAscii } from "../../../lib/sys/bytes.ts";
import { fileTables, NO_TABLES } from "../address/fake_tables.ts";

const VECTORS = "test/vectors/processing";
export const ID = "DEBA221C22C";

export interface Submission {
  readonly config: Record<string, string | number>;
  readonly tables?: Partial<CleanupTables>;
  readonly flags: number;
  readonly records: ReadonlyArray<readonly [string, string]>;
  /** Bytes handed over at once; to see that boundaries do not matter. */
  readonly chunk?: number;
}

export interface Outcome {
  readonly status: number;
  readonly reason: string;
  readonly canBounce: boolean;
  readonly discarded: boolean;
  /** [letter, data], as stored. */
  readonly records: ReadonlyArray<readonly [string, string]>;
  readonly log: ReadonlyArray<string>;
}

/** Regular expression tables of the vectors. */
export function checkTables(name: string): CheckTables {
  const rules: Array<readonly [RegExp, string]> = [];
  for (const line of readFileSync(`${VECTORS}/config/${name}`, "latin1").split("\n")) {
    const match = /^\/(.*)\/ (.*)$/.exec(line);
    if (match !== null) rules.push([new RegExp(match[1] ?? "", "i"), match[2] ?? ""]);
  }
  return {
    empty: false,
    lookup: (key: string): Promise<AddressLookupResult> => {
      for (const [pattern, result] of rules) {
        const match = pattern.exec(key);
        if (match !== null)
          return Promise.resolve({
            kind: "found",
            value: result.replace(/\$\{(\d)\}/g, (_, group: string) => match[Number(group)] ?? ""),
          });
      }
      return Promise.resolve({ kind: "absent" });
    },
  };
}

const NO_CHECKS: CheckTables = { empty: true, lookup: () => Promise.resolve({ kind: "absent" }) };
const NO_NAMES: NameList = { empty: true, matches: () => Promise.resolve({ kind: "none" }) };
export const names = (...list: string[]): NameList => ({
  empty: false,
  matches: (name) => Promise.resolve(list.includes(lowerAscii(name)) ? { kind: "match" } : { kind: "none" }),
});

export const baseTables = (): CleanupTables => ({
  canonical: NO_TABLES,
  senderCanonical: NO_TABLES,
  recipientCanonical: NO_TABLES,
  virtualAlias: fileTables("virtual"),
  senderBcc: NO_TABLES,
  recipientBcc: NO_TABLES,
  masqueradeExceptions: NO_NAMES,
  headerChecks: NO_CHECKS,
  mimeHeaderChecks: NO_CHECKS,
  nestedHeaderChecks: NO_CHECKS,
  bodyChecks: NO_CHECKS,
});

class MemoryFile {
  bytes = Buffer.alloc(0);
  readonly files: FileSystem = {
    ...fileSystem,
    write: (_fd, bytes, start, length, position) => {
      const at = position ?? this.bytes.length;
      if (at + length > this.bytes.length)
        this.bytes = Buffer.concat([this.bytes, Buffer.alloc(at + length - this.bytes.length)]);
      this.bytes.set(bytes.subarray(start, start + length), at);
      return length;
    },
  };
}

const LOCAL = ["mail.example.com", "example.com", "localhost"];

/** Runs one submission through cleanup's logic, without sockets and files. */
export async function submit(submission: Submission): Promise<Outcome> {
  const base = readFileSync(`${VECTORS}/config/main.cf`, "latin1").replace(/^.*(?:maps|domains) *=.*$/gm, "");
  const extra = Object.entries(submission.config).map(([name, value]) => `${name} = ${value}`);
  installConfiguration(configurationFromText(`${base}\n${extra.join("\n")}\n`, { processName: "cleanup" }));
  const lines: string[] = [];
  const previous = setLogSinks([
    (event) =>
      lines.push(`postfix/cleanup: ${event.level === "info" ? "" : `${event.level}: `}${event.text}`),
  ]);
  setLogUtf8(true);
  try {
    const file = new MemoryFile();
    const writer = new RecordWriter(file.files, 3);
    const settings = readSettings(
      { ...baseTables(), ...submission.tables },
      {
        delimiters: "+",
        ownerRequestSpecial: true,
        doubleBounceSender: "double-bounce",
        myorigin: "example.com",
        isLocalDomain: (domain) => Promise.resolve(LOCAL.includes(lowerAscii(domain))),
      },
    );
    const remote = settings.remoteHeaderRewriteDomain;
    const rewriting = {
      swapBangpath: true,
      percentHack: true,
      appendAtMyorigin: true,
      appendDotMydomain: submission.config.append_dot_mydomain === "yes",
    };
    const addresses = new Addresses(settings, (rule, external) =>
      Promise.resolve(
        rewriteAddress(
          external,
          rule === "local"
            ? { origin: parameter("myorigin"), domain: "example.com" }
            : { origin: remote, domain: remote },
          rewriting,
        ),
      ),
    );
    const pipeline = new Pipeline(addresses, {
      reportMultiple: () => Promise.resolve(),
      traceExpansion: () => Promise.resolve(true),
    });
    const id = parseQueueId(ID);
    if (id === undefined) throw new Error("bad id");
    const created = { seconds: 1795334996, microseconds: 0 };
    const message = new Message(id, created, writer, submission.flags, settings);
    const processor = new MessageProcessor(message, pipeline);
    const input = new RecordDecoder("cleanup socket");
    const buffer = new RecordBuffer();
    for (const [type, data] of submission.records) buffer.put(type.charCodeAt(0), data);
    const stream = buffer.take();
    const size = submission.chunk ?? stream.length;
    let progress = "more";
    for (let at = 0; at < stream.length && progress === "more"; at += size) {
      input.push(Buffer.from(stream.subarray(at, at + size)));
      progress = await processor.run(input);
    }
    if (progress === "more") {
      input.end();
      await processor.run(input);
    }
    processor.finish();
    const { canBounce } = message;
    if (canBounce) {
      message.status = 0;
      message.set("discard");
    }
    const discarded = message.has("discard");
    const kept = message.status === 0 && !discarded;
    if (!kept) log(removed({ queueId: ID, why: discarded ? "discarded" : "canceled" }));
    return {
      status: message.status,
      reason: message.reason,
      canBounce,
      discarded,
      records: kept ? decodeRecords(file.bytes) : [],
      log: lines,
    };
  } finally {
    setLogSinks(previous);
  }
}

export function decodeRecords(bytes: Buffer): Array<readonly [string, string]> {
  const decoder = new RecordDecoder("queue file");
  decoder.push(bytes);
  decoder.end();
  const records: Array<readonly [string, string]> = [];
  for (let type = decoder.next(); type > 0; type = decoder.next())
    records.push([String.fromCharCode(type), decoder.text]);
  return records;
}
