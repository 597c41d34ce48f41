/** LMDB files for the fuzzer to damage. */
import { closeSync, openSync, readFileSync, unlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MappedFile } from "../../../lib/sys/mapped_file.ts";
import type { IndexRecord } from "../../../lib/tables/formats/index.ts";
import { LmdbTransaction } from "../../../lib/tables/formats/lmdb_writer.ts";
import { Records } from "../../../lib/tables/formats/records.ts";

export async function buildLmdb(records: ReadonlyArray<IndexRecord>): Promise<Buffer> {
  const path = join(tmpdir(), `posthaste-fuzz-lmdb-${process.pid}`);
  const fd = openSync(path, "w+");
  try {
    const transaction = new LmdbTransaction(new MappedFile(fd), 1 << 22);
    transaction.bulkLoad(Records.from(records));
    await transaction.commit();
    return readFileSync(path);
  } finally {
    unlinkSync(path);
    closeSync(fd);
  }
}
