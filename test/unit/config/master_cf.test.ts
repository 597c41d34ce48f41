import t from "tap";
import { configurationFromText } from "../../../lib/config/configuration.ts";
import { parseInet } from "../../../lib/config/inet.ts";
import { childArguments, isDisabled, parseMasterCf } from "../../../lib/config/master_cf.ts";
import { readVectors } from "./support.ts";

interface MasterVectors {
  readonly good: ReadonlyArray<{
    readonly master_cf: string;
    readonly result: {
      readonly args: ReadonlyArray<string>;
      readonly flags: number;
      readonly name: string;
      readonly type: string;
      readonly listen_fd_count: number;
      readonly wakeup: number;
      readonly max_proc: number;
      readonly path: string;
    };
  }>;
  readonly bad: ReadonlyArray<{ readonly master_cf: string; readonly log: ReadonlyArray<string> }>;
}

const configuration = configurationFromText(
  "compatibility_level = 3.11\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n",
);
/** Names are asked for by the programs alone. */
const byNumber = (host: string): Uint8Array[] => {
  const bytes = parseInet(host === "localhost" ? "127.0.0.1" : host);
  return bytes === undefined ? [] : [bytes];
};

const parse = (text: string, level = configuration) =>
  parseMasterCf(text, "$config_directory/master.cf", level, byNumber);

t.test("entries as master reads them", async (t) => {
  for (const { master_cf, result } of readVectors<MasterVectors>("master_cf").good) {
    const parsed = parse(master_cf);
    const service = parsed.ok ? parsed.services[0] : undefined;
    if (service === undefined) {
      t.fail(master_cf);
      continue;
    }
    // The program that recorded its arguments had removed -v, which it took as its own.
    const argv = childArguments(service, { debug: false, verbose: false, stress: false });
    t.same(
      argv.filter((argument) => argument !== "-v"),
      result.args,
      master_cf,
    );
    const { canonicalName, type, wakeup, processLimit, localOnly, wakeupAfterUse, command, endpoint } =
      service;
    t.same(
      {
        name: canonicalName,
        type,
        wakeup,
        max_proc: processLimit,
        path: `$daemon_directory/${command}`,
        listen_fd_count: endpoint.kind === "inet" ? endpoint.listeners.length : 1,
        flags: (localOnly ? 16 : 0) + (wakeupAfterUse ? 4 : 0) + (canonicalName.startsWith("[") ? 8 : 0),
      },
      (({ args: _, ...rest }) => rest)(result),
      master_cf,
    );
  }
});

t.test("faults", async (t) => {
  for (const { master_cf, log } of readVectors<MasterVectors>("master_cf").bad) {
    const parsed = parse(master_cf);
    t.same(parsed.ok ? [] : [`fatal: ${parsed.error}`], log, master_cf);
  }
});

t.test("old compatibility level, duplicates, disabled services, no protocols", async (t) => {
  const entry = "smtp unix - - - - - smtp\n";
  const old = parse(entry, configurationFromText("compatibility_level = 0"));
  t.same(old.notices, [
    {
      level: "info",
      text: "$config_directory/master.cf: line 1: using backwards-compatible default setting chroot=y",
    },
  ]);
  const twice = parse(`${entry}smtp unix - - n - 7 smtp -v\n`);
  t.same(twice.notices, [
    {
      level: "warning",
      text: 'duplicate master.cf entry for service "smtp" (private/smtp) -- using the last entry',
    },
  ]);
  t.equal(twice.ok && twice.services.length === 1 && twice.services[0]?.processLimit, 7);
  const none = parse(
    "25 inet n - n - - smtpd\n",
    configurationFromText("compatibility_level = 3.11\nmaster_service_disable = !smtp/inet, inet"),
  );
  t.same(none.ok && none.services, []);
  t.equal(isDisabled("submission", "inet", ["submission.INET"]), true);
  t.equal(isDisabled("submission", "inet", ["!submission/inet", "inet"]), false);
});
