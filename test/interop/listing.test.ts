/** QUE-12: every kind of entry that a queue may have, listed by both showq daemons to both postqueue commands: four times the same. */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import t from "tap";
import type { Instance } from "../../packaging/instance.ts";
import { PROGRAMS } from "../system/support/harness.ts";
import { mixedInstance } from "./support/mixed.ts";
import { reference } from "./support/reference.ts";

t.setTimeout(180_000);

const programs = reference();
const skip = "missing" in programs ? { skip: programs.missing } : {};
const FILES = join(import.meta.dirname, "../vectors/queue/files");
const QUEUES = ["active", "incoming", "deferred", "hold", "maildrop"];
const LOG =
  "<s@old>: old \x01 style \xc3\xa9\n\n\nrecipient=d1@dead.example\noriginal_recipient=Orig@x\nreason=why not\n\nrecipient=\nreason=\n\nbogus line\nreason=r\n\n";

/** Captured messages in every queue, with logs of deferred and bounced recipients; some not ready, some with a mode that nobody can read. */
function fill({ queue }: Instance): void {
  const { uid, gid } = statSync(join(queue, "hold"));
  const put = (path: string, make: (path: string) => void, mode: number): void => {
    const whole = join(queue, path);
    mkdirSync(dirname(whole), { recursive: true });
    make(whole);
    for (const made of [dirname(whole), whole]) chownSync(made, uid, gid);
    chmodSync(whole, mode);
    utimesSync(whole, 1_795_000_000, 1_795_000_000);
  };
  const names = readdirSync(FILES)
    .filter((name) => name.endsWith(".qf"))
    .sort();
  for (const [index, name] of names.entries())
    for (const [place, folder] of QUEUES.entries()) {
      const id = `${(index + 16).toString(16).toUpperCase()}0${place}A1B2C3`;
      const hashed = folder === "deferred" ? `deferred/${id[0]}` : folder;
      const mode = [0o700, 0o700, 0o600, 0o710, 0][index % 5] ?? 0o700;
      put(`${hashed}/${id}`, (path) => copyFileSync(join(FILES, name), path), mode);
      if (index % 3 === 0) put(`defer/${id[0]}/${id}`, (path) => writeFileSync(path, LOG, "latin1"), 0o600);
      if (index % 4 === 0)
        put(
          `bounce/${id}`,
          (path) =>
            writeFileSync(path, "\nrecipient=a@sink.example\nreason=bounced\n\nrecipient=unfinished\n"),
          0o600,
        );
    }
}

t.test("four times the same list", skip, async (t) => {
  if ("missing" in programs) return;
  const lists = new Map<string, string>();
  for (const daemon of ["ours", "real"] as const) {
    const instance = await mixedInstance(
      t,
      programs,
      { base: "ours", swapped: daemon === "real" ? ["showq"] : [] },
      "master_service_disable = qmgr.unix, pickup.unix\nmessage_size_limit = 0\n",
      undefined,
      fill,
    );
    for (const command of ["ours", "real"] as const) {
      const path = join(command === "ours" ? join(PROGRAMS.multicall, "sbin") : programs.sbin, "postqueue");
      for (const option of ["-p", "-j"]) {
        const { stdout, stderr, status } = spawnSync(path, ["-c", instance.config, option], {
          env: instance.environment,
          maxBuffer: 1e8,
        });
        lists.set(
          `${option}, showq ${daemon}, postqueue ${command}`,
          `${stdout.toString("latin1")}\n${stderr.toString("latin1")}\n${status}`,
        );
      }
    }
  }
  for (const option of ["-p", "-j"]) {
    const expected = lists.get(`${option}, showq real, postqueue real`) ?? "";
    t.ok(expected.split("\n").length > 60, `${expected.split("\n").length} lines`);
    for (const [name, list] of lists) if (name.startsWith(option)) t.equal(list, expected, name);
  }
});
