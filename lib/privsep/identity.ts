/** Whose rights this process has: dropping them for good, and acting as a mail user for a moment. */
import { panic } from "../log/log.ts";
import {
  chroot,
  effectiveGid,
  effectiveUid,
  groupsOf,
  realGid,
  realUid,
  setGid,
  setGroups,
  setThreadIdentity,
  setUid,
  type User,
} from "../sys/identity.ts";

export interface Identity {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups; default the group alone. */
  readonly groups?: ReadonlyArray<number>;
}

/** A process without root keeps the identity that it has: there is nothing to drop (private instances). */
const isRoot = (): boolean => realUid() === 0;

/** Gives up root for good: groups, group, jail, user, each checked afterwards. Undefined `user` keeps root, undefined `jail` the root directory. */
export function dropPrivileges(user: User | undefined, jail: string | undefined): void {
  if (!isRoot()) {
    if (user !== undefined && user.uid !== realUid())
      panic(`cannot become user ${user.name}: this process is not root`);
    return;
  }
  if (user !== undefined) {
    setGid(user.gid);
    setGroups(groupsOf(user.name, user.gid));
  }
  if (jail !== undefined) {
    chroot(jail);
    process.chdir("/");
  }
  if (user !== undefined) {
    setUid(user.uid);
    const kept =
      realUid() !== user.uid ||
      effectiveUid() !== user.uid ||
      realGid() !== user.gid ||
      effectiveGid() !== user.gid;
    if (kept) panic(`could not become user ${user.name}`);
    if (user.uid !== 0 && canRegainRoot()) panic(`user ${user.name} could become root again`);
  }
}

function canRegainRoot(): boolean {
  try {
    setUid(0);
    return true;
  } catch {
    // the expected outcome: the kernel refuses
    return false;
  }
}

/** The identity that asUser() goes back to: it does not change once a process has started. */
let own: Identity | undefined;
/**
 * Supplementary groups of this thread, once it has acted as a user. Root may do everything without them, so they stay until it acts as a user with
 * others: mostly all mailboxes belong to one group.
 */
let groupsLeft: ReadonlyArray<number> | undefined;

/**
 * Runs synchronous work with the effective ids of another user and takes them back, whatever happens. The process must have nothing
 * else in flight that could run meanwhile; the work must not wait (design.md, Processes).
 */
export function asUser<T>(identity: Identity, work: () => T): T {
  if (!isRoot()) {
    if (identity.uid !== effectiveUid()) throw new NotPermitted(identity.uid);
    return work();
  }
  own ??= { uid: effectiveUid(), gid: effectiveGid(), groups: process.getgroups?.() ?? [] };
  const { gid, groups = [gid] } = identity;
  const known =
    groupsLeft?.length === groups.length && groups.every((group, at) => group === groupsLeft?.[at]);
  groupsLeft = undefined;
  assume(identity, known ? undefined : groups);
  groupsLeft = groups;
  let result: T;
  try {
    result = work();
  } finally {
    assume(own, undefined);
  }
  if (result instanceof Promise) panic("asUser: the work did not end");
  return result;
}

/**
 * Starts a program as another user, for good: `start` must call fork() or vfork() on this thread, and return. What it executes has the
 * ids real, effective and saved, and no capability.
 */
export function startAs<T>(identity: Identity, start: () => T): T {
  if (!isRoot()) {
    if (identity.uid !== effectiveUid()) throw new NotPermitted(identity.uid);
    return start();
  }
  own ??= { uid: effectiveUid(), gid: effectiveGid(), groups: process.getgroups?.() ?? [] };
  const { uid, gid, groups = [gid] } = identity;
  groupsLeft = undefined;
  setThreadIdentity(uid, gid, groups, true);
  try {
    if (realUid() !== uid || effectiveUid() !== uid || realGid() !== gid || effectiveGid() !== gid)
      panic(`could not act as user id ${uid}`);
    return start();
  } finally {
    setThreadIdentity(own.uid, own.gid, own.groups ?? [own.gid], true);
    if (realUid() !== own.uid || effectiveUid() !== own.uid) panic(`could not act as user id ${own.uid}`);
  }
}

/** Acting as another user takes root. */
export class NotPermitted extends Error {
  constructor(uid: number) {
    super(`cannot act as user id ${uid}: this process is not root`);
    this.name = "NotPermitted";
  }
}

function assume(identity: Identity, groups: ReadonlyArray<number> | undefined): void {
  setThreadIdentity(identity.uid, identity.gid, groups);
  if (effectiveUid() !== identity.uid || effectiveGid() !== identity.gid)
    panic(`could not act as user id ${identity.uid}`);
}
