/** What an ordinary user can put into a maildrop that everybody may write to, instead of a message. */
import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { Test } from "tap";
import type { Instance } from "../../../packaging/instance.ts";
import { until } from "../../system/support/harness.ts";
import { bytes } from "../../system/support/hostile.ts";
import { record } from "../../system/support/queue_damage.ts";

/** The ordinary user, who is in no group of the mail system (games on a Debian system). */
export const USER = { uid: 5, gid: 60 } as const;

/** A submission as postdrop leaves it, with this subject. */
export const submission = (subject: string, to: string, body: ReadonlyArray<string> = []): Buffer =>
  Buffer.concat([
    record("T", "1795340000 1"),
    record("S", "games"),
    record("R", to),
    record("M", ""),
    record("N", `Subject: ${subject}`),
    record("N", ""),
    ...body.map((line) => record("N", line)),
    record("X", ""),
    record("E", ""),
  ]);

export interface PutOptions {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Seconds since 1970. */
  readonly modified?: number;
}

/** A file that appears under its name with everything in place. */
export function put(folder: string, name: string, content: Buffer, options: PutOptions = {}): void {
  const made = join(folder, "..", `.${process.pid}.made`);
  writeFileSync(made, content, { mode: 0o600 });
  chownSync(made, options.uid ?? USER.uid, options.gid ?? USER.gid);
  chmodSync(made, options.mode ?? 0o744);
  if (options.modified !== undefined) utimesSync(made, options.modified, options.modified);
  renameSync(made, join(folder, name));
}

export interface Game {
  /** Subject of the message that it would be, and what the test calls it. */
  readonly name: string;
  /** Puts it there; `id` is a good queue ID, of which at most the last digit may be changed. */
  readonly play: (place: Place, id: string) => void;
  /** It is delivered as a message of this user, once. */
  readonly deliveredAs?: number | "owner";
  /** It stays in maildrop. */
  readonly stays?: boolean;
  /** What pickup says of it, with the name of the file in place of ID. */
  readonly says?: ReadonlyArray<RegExp>;
  /** A real pickup takes records of type 0 for good ones, and cleanup does not: it offers the file again every minute, for ever. */
  readonly realKeepsTrying?: boolean;
}

export interface Place {
  readonly maildrop: string;
  /** A folder of the user's own on the same file system. */
  readonly home: string;
  readonly to: string;
  /** The owner of the mail system. */
  readonly owner: { readonly uid: number; readonly gid: number };
  /** Whether a real Postfix is to look at it. */
  readonly real?: boolean;
}

const gamesIn = (place: Place): ReadonlyArray<Game> =>
  GAMES.filter(({ realKeepsTrying }) => !(place.real === true && realKeepsTrying === true));

const DAY = 86_400;
const notRegular = /ID: uid \d+: not a regular file/;

/** Each alone; a name says what it is. */
export const GAMES: ReadonlyArray<Game> = [
  {
    name: "a good one",
    play: ({ maildrop, to }, id) => put(maildrop, id, submission("a good one", to)),
    deliveredAs: USER.uid,
  },
  {
    name: "link to a secret",
    play: ({ maildrop, home, to }, id) => {
      put(home, "secret", submission("link to a secret", to), { uid: 0, gid: 0, mode: 0o700 });
      symlinkSync(join(home, "secret"), join(maildrop, id));
    },
    stays: true,
    says: [notRegular],
  },
  {
    name: "link to a message of one's own",
    play: ({ maildrop, home, to }, id) => {
      put(home, "own", submission("link to a message of one's own", to));
      symlinkSync(join(home, "own"), join(maildrop, id));
    },
    stays: true,
    says: [notRegular],
  },
  {
    name: "link to nowhere",
    play: ({ maildrop }, id) => symlinkSync("/nonexistent/x", join(maildrop, id)),
    stays: true,
    says: [notRegular],
  },
  {
    name: "directory",
    play: ({ maildrop }, id) => {
      mkdirSync(join(maildrop, id), { mode: 0o777 });
      writeFileSync(join(maildrop, id, "x"), "");
    },
    stays: true,
    says: [notRegular],
  },
  {
    name: "FIFO",
    play: ({ maildrop }, id) => execFileSync("mkfifo", ["-m", "0744", join(maildrop, id)]),
    stays: true,
    says: [notRegular],
  },
  {
    name: "socket",
    play: ({ maildrop }, id) => makeSocket(join(maildrop, id)),
    stays: true,
    says: [notRegular],
  },
  {
    name: "device",
    play: ({ maildrop }, id) => execFileSync("mknod", ["-m", "0744", join(maildrop, id), "c", "1", "5"]),
    stays: true,
    says: [notRegular],
  },
  {
    name: "hard link to another's file",
    play: ({ maildrop, home, to }, id) => {
      put(home, "foreign", submission("hard link to another's file", to), { uid: 13, gid: 13 });
      linkSync(join(home, "foreign"), join(maildrop, id));
    },
    says: [/open input file maildrop\/ID: file has 2 hard links/],
  },
  {
    name: "unreadable",
    play: ({ maildrop, to }, id) => put(maildrop, id, submission("unreadable", to), { mode: 0o700 }),
    stays: true,
    says: [
      /open input file maildrop\/ID: cannot open file: Permission denied/,
      /if this file was created by Postfix < 1\.1, then you may have to chmod a\+r \/\S+\/maildrop\/ID/,
    ],
  },
  {
    name: "of root",
    play: ({ maildrop, to }, id) => put(maildrop, id, submission("of root", to), { uid: 0, gid: 0 }),
    deliveredAs: 0,
  },
  {
    name: "of the mail owner, requeued",
    play: ({ maildrop, to, owner }, id) =>
      put(maildrop, id, submission("of the mail owner, requeued", to), { ...owner, mode: 0o700 }),
    deliveredAs: "owner",
  },
  {
    name: "set-id bits",
    play: ({ maildrop, to }, id) => put(maildrop, id, submission("set-id bits", to), { mode: 0o7777 }),
    deliveredAs: USER.uid,
  },
  {
    name: "not complete",
    play: ({ maildrop, to }, id) => put(maildrop, id, submission("not complete", to), { mode: 0o677 }),
    stays: true,
  },
  {
    name: "no mode",
    play: ({ maildrop, to }, id) => put(maildrop, id, submission("no mode", to), { mode: 0 }),
    stays: true,
  },
  {
    name: "three days old",
    play: ({ maildrop, to }, id) =>
      put(maildrop, id, submission("three days old", to), { modified: Date.now() / 1000 - 3 * DAY - 60 }),
    deliveredAs: USER.uid,
    says: [/message maildrop\/ID has been queued for 3 days/],
  },
  {
    name: "of tomorrow",
    play: ({ maildrop, to }, id) =>
      put(maildrop, id, submission("of tomorrow", to), { modified: Date.now() / 1000 + DAY }),
    deliveredAs: USER.uid,
    says: [/message maildrop\/ID dated \d+ seconds into the future/],
  },
  {
    name: "of 1970",
    play: ({ maildrop, to }, id) => put(maildrop, id, submission("of 1970", to), { modified: 0 }),
    deliveredAs: USER.uid,
    says: [/message maildrop\/ID has been queued for \d{5} days/],
  },
  {
    name: "empty",
    play: ({ maildrop }, id) => put(maildrop, id, Buffer.alloc(0)),
    says: [/uid=5: unexpected or malformed record type -1/],
  },
  {
    name: "a terabyte of nothing",
    play: ({ maildrop }, id) => {
      put(maildrop, id, Buffer.alloc(0), { mode: 0o600 });
      truncateSync(join(maildrop, id), 2 ** 40);
      chmodSync(join(maildrop, id), 0o744);
    },
    says: [/uid=5: unexpected or malformed record type 0/],
    realKeepsTrying: true,
  },
  {
    name: "a message and a terabyte of nothing",
    play: ({ maildrop, to }, id) => {
      const content = submission("a message and a terabyte of nothing", to);
      // without X and E
      put(maildrop, id, content.subarray(0, content.length - 4), { mode: 0o600 });
      truncateSync(join(maildrop, id), 2 ** 40);
      chmodSync(join(maildrop, id), 0o744);
    },
    says: [/uid=5: unexpected or malformed record type 0/],
    realKeepsTrying: true,
  },
  {
    name: "a record of 200 MB that is a hole",
    play: ({ maildrop }, id) => {
      put(maildrop, id, Buffer.from([0x53, 0x80, 0xc2, 0xd7, 0x2f]), { mode: 0o600 });
      truncateSync(join(maildrop, id), 2 ** 30);
      chmodSync(join(maildrop, id), 0o744);
    },
    says: [/uid=5: unexpected or malformed record type -2/],
  },
  {
    name: "more after the end",
    play: ({ maildrop, to }, id) =>
      put(
        maildrop,
        id,
        Buffer.concat([submission("more after the end", to), submission("hidden behind", to)]),
      ),
    deliveredAs: USER.uid,
  },
  ...["....", "-rf", "a b", "x\ny", "\x1b[2J", "..data", ".hidden", "*", "$(id)", "~root"].map(
    (odd): Game => ({
      name: `name ${JSON.stringify(odd)}`,
      play: ({ maildrop, to }) => put(maildrop, odd, submission(`name ${JSON.stringify(odd)}`, to)),
      stays: true,
    }),
  ),
  // as in Postfix, letters, digits and underscores make a queue ID
  ...["__proto__", "B".repeat(255)].map(
    (odd): Game => ({
      name: `name ${odd.slice(0, 20)}`,
      play: ({ maildrop, to }) => put(maildrop, odd, submission(`name ${odd.slice(0, 20)}`, to)),
      deliveredAs: USER.uid,
    }),
  ),
];

/** A socket whose server is gone. */
function makeSocket(path: string): void {
  const script =
    "require('net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))";
  spawnSync(process.execPath, ["-e", script, path]);
  chmodSync(path, 0o744);
}

/** Plays all games in a maildrop; the name that each got. */
export function playAll(place: Place, idOf: (index: number) => string): ReadonlyMap<string, string> {
  return new Map(
    gamesIn(place).map((game, index) => {
      const id = idOf(index);
      game.play(place, id);
      return [game.name, id];
    }),
  );
}

/** Kind, mode and size of what is in a folder, without names: they differ where inode numbers do. */
export const kinds = (folder: string): string[] =>
  readdirSync(bytes(folder), { encoding: "buffer" })
    .map((name) => lstatSync(Buffer.concat([bytes(`${folder}/`), name])))
    .map(
      ({ mode, size, uid, nlink }) =>
        `${mode.toString(8)} ${(mode & 0o170000) === 0o100000 ? size : ""} ${uid} ${nlink}`,
    )
    .sort();

/** Has a running system that finds the games in its maildrop look at them, and says what came of each. */
export async function expectOutcomes(
  t: Test,
  instance: Instance,
  place: Place,
  ids: ReadonlyMap<string, string>,
): Promise<void> {
  const games = gamesIn(place);
  instance.must("postkick", ["public", "pickup", "W"]);
  const mailbox = (): string => {
    const path = join(instance.mail, instance.who.recipient);
    return existsSync(path) ? readFileSync(path, "latin1") : "";
  };
  const delivered = (name: string): number => mailbox().split(`\nSubject: ${name}\n`).length - 1;
  for (const { name, deliveredAs, stays } of games) {
    if (deliveredAs !== undefined) await until(name, () => delivered(name) > 0);
    else if (stays !== true)
      await until(`the end of ${name}`, () => !existsSync(join(place.maildrop, ids.get(name) ?? "")));
  }
  const log = await until("the end of a scan", () => {
    const text = instance.maillog();
    return games.every(({ name, says }) =>
      (says ?? []).every((line) => new RegExp(line.source.replace("ID", ids.get(name) ?? "")).test(text)),
    )
      ? text
      : undefined;
  }).catch((error: unknown) => {
    throw new Error(`${error}\n${instance.maillog().split("\n").slice(-60).join("\n")}`);
  });
  for (const { name, deliveredAs, stays, says } of games) {
    const id = ids.get(name) ?? "";
    t.equal(delivered(name), deliveredAs === undefined ? 0 : 1, `${name}: deliveries`);
    if (deliveredAs !== undefined) {
      const message =
        mailbox()
          .split("\nFrom ")
          .find((text) => text.includes(`\nSubject: ${name}\n`)) ?? "";
      const uid = deliveredAs === "owner" ? place.owner.uid : deliveredAs;
      t.ok(message.includes(`, from userid ${uid})\n`), `${name}: from userid ${uid}`);
    }
    if (stays !== true) t.notOk(existsSync(join(place.maildrop, id)), `${name} is gone`);
    if (says === undefined) t.notOk(log.includes(`maildrop/${id}`), `${name}: nothing is said`);
  }
  t.notMatch(log, /hidden behind|killed by signal|panic/);
}
