/** `postfix upgrade-configuration`: entries that master.cf and main.cf of an older release lack. */

import { configuration } from "../../lib/config/configuration.ts";
import { splitList } from "../../lib/config/lists.ts";
import { pathOf, toBytes } from "../../lib/sys/bytes.ts";
import { readFileSync, writeFileSync } from "../../lib/sys/fs.ts";
import { commandPath, run } from "./programs.ts";

interface Missing {
  readonly present: RegExp;
  readonly announced: string;
  readonly entry: string;
}

interface Repair {
  readonly wrong: RegExp;
  readonly right: string;
  readonly announced: string;
}

type Step = Missing | Repair;

const missing = (present: RegExp, announced: string, entry: string): Missing => ({
  present,
  announced,
  entry,
});
const repair = (wrong: RegExp, right: string, announced: string): Repair => ({ wrong, right, announced });

/** In this order, which is that of the announcements. */
const STEPS: ReadonlyArray<Step> = [
  missing(/^relay/m, "relay service", "relay unix - - n - - smtp"),
  missing(/^flush.*flush/m, "flush service", "flush unix n - n 1000? 0 flush"),
  missing(/trace.*bounce/m, "trace service", "trace unix - - n - 0 bounce"),
  missing(/^verify.*verify/m, "verify service", "verify unix - - n - 1 verify"),
  repair(/^(verify[^\n]*[ \t])0([ \t]+verify)/m, "$11$2", "setting verify process limit to 1"),
  repair(/^(pickup[ \t]+fifo[ \t]+n[ \t]+)n([ \t])/m, "$1-$2", "making the pickup service unprivileged"),
  repair(/^(cleanup[ \t]+unix[ \t]+)-([ \t])/m, "$1n$2", "making the cleanup service public"),
  repair(/^(flush[ \t]+unix[ \t]+)-([ \t])/m, "$1n$2", "making the flush service public"),
];

/** After hash_queue_names was looked at. */
const LATER_STEPS: ReadonlyArray<Step> = [
  missing(/^proxymap.*proxymap/m, "proxymap service", "proxymap unix - - n - - proxymap"),
  missing(/^anvil.*anvil/m, "anvil service", "anvil unix - - n - 1 anvil"),
  missing(/^scache.*scache/m, "scache service", "scache unix - - n - 1 scache"),
  missing(/^discard.*discard/m, "discard service", "discard unix - - n - - discard"),
  repair(
    /^(tlsmgr[ \t]+)fifo([ \t]+\S+[ \t]+\S+[ \t]+\S+[ \t]+[0-9]+)\??/m,
    "$1unix$2?",
    "updating the tlsmgr from fifo to unix service",
  ),
  missing(/^tlsmgr.*tlsmgr/m, "tlsmgr service", "tlsmgr unix - - n 1000? 1 tlsmgr"),
  missing(/^retry.*error/m, "retry service", "retry unix - - n - - error"),
  missing(/^proxywrite.*proxymap/m, "proxywrite service", "proxywrite unix - - n - 1 proxymap"),
  repair(/^(proxywrite[^\n]*[ \t])-([ \t]+proxymap)/m, "$11$2", "setting proxywrite process limit to 1"),
  missing(/^#*smtp.*postscreen/m, "postscreen TCP service", "#smtp inet n - n - 1 postscreen"),
  missing(/^#*smtpd.*smtpd/m, "smtpd unix-domain service", "#smtpd pass - - n - - smtpd"),
  missing(/^#*dnsblog.*dnsblog/m, "dnsblog unix-domain service", "#dnsblog unix - - n - 0 dnsblog"),
  missing(/^#*tlsproxy.*tlsproxy/m, "tlsproxy unix-domain service", "#tlsproxy unix - - n - 0 tlsproxy"),
];

const POSTLOG = missing(
  /^postlog/m,
  "postlog unix-domain datagram service",
  "postlog unix-dgram n - n - 1 postlogd",
);

const COLUMNS = [0, 10, 16, 24, 32, 40, 48, 56];

/** The fields of an entry under those of the entries that are there. */
function layOut(entry: string): string {
  let line = "";
  for (const [index, field] of entry.split(" ").entries())
    line += (index === 0 ? "" : " ".repeat(Math.max(1, (COLUMNS[index] ?? 0) - line.length))) + field;
  return line;
}

const say = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

export function upgradeConfiguration(directory: string): void {
  const path = `${directory}/master.cf`;
  for (const step of STEPS) upgradeMaster(path, step);
  fixQueueNames(directory);
  for (const step of LATER_STEPS) upgradeMaster(path, step);
  fixProtocols(directory);
  upgradeMaster(path, POSTLOG);
}

function upgradeMaster(path: string, step: Step): void {
  const text = readFileSync(pathOf(path), "latin1");
  const save = (changed: string): void => writeFileSync(pathOf(path), toBytes(changed));
  if ("present" in step) {
    if (step.present.test(text)) return;
    say(`Editing ${path}, adding missing entry for ${step.announced}`);
    save(`${text}${text === "" || text.endsWith("\n") ? "" : "\n"}${layOut(step.entry)}\n`);
  } else if (step.wrong.test(text)) {
    say(`Editing ${path}, ${step.announced}`);
    save(text.replace(step.wrong, step.right));
  }
}

const editMain = (directory: string, setting: string): number =>
  run(commandPath("postconf"), ["-c", directory, "-e", setting]);

/** The deferred queue and its logs grow large: both have to be hashed. */
function fixQueueNames(directory: string): void {
  const names = splitList(configuration().get("hash_queue_names"));
  const lacking = ["defer", "deferred"].filter((name) => !names.includes(name));
  if (lacking.length === 0) return;
  say(`fixing main.cf hash_queue_names for missing ${lacking.join(" ")}`);
  editMain(directory, `hash_queue_names=${[...names, ...lacking].join(" ")}`);
}

/** Releases before had IPv4 alone unless they were told otherwise; an upgrade does not change what a machine listens on. */
function fixProtocols(directory: string): void {
  if (configuration().isSet("inet_protocols")) return;
  say(`COMPATIBILITY: editing ${directory}/main.cf, setting inet_protocols=ipv4.`);
  say("    Specify inet_protocols explicitly if you want to enable IPv6.");
  editMain(directory, "inet_protocols=ipv4");
}
