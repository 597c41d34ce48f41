/** `.forward` files (delivery.md 4.4): undefined when the mailbox is next. */

import { parameter } from "../../lib/config/configuration.ts";
import { type Disposition, traceExpansion } from "../../lib/delivery/disposition.ts";
import { dsn } from "../../lib/delivery/status.ts";
import { DELIVERY_FLAG, NOTIFY } from "../../lib/ipc/protocols/delivery.ts";
import { warning } from "../../lib/log/log.ts";
import { asUser } from "../../lib/privsep/identity.ts";
import { pathOf, splitAny } from "../../lib/sys/bytes.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import { closeSync, constants, fstatSync, lstatSync, openSync, type Stats } from "../../lib/sys/fs.ts";
import type { User } from "../../lib/sys/identity.ts";
import { expandLocal } from "./expand.ts";
import { deliverFileItems } from "./include.ts";
import { attemptOf, defer, nested, type State, sentTo, withoutSuccess } from "./state.ts";
import { findUser } from "./user.ts";

interface ForwardFile {
  readonly path: string;
  readonly stat: Stats;
  /** The path is that of the extension: the addresses in it have had it taken into account. */
  readonly usedExtension: boolean;
}

export async function deliverDotForward(outer: State): Promise<Disposition | undefined> {
  if (parameter("forward_path") === "") return undefined;
  const found = findUser(outer.session.users, outer.user);
  if (found.kind === "error") return defer(outer, dsn("4.0.0", "user lookup error"));
  if (found.kind === "absent") return undefined;
  const { user } = found;
  const state = nested(outer);
  const { session } = state;
  const file = findForwardFile(state, user);
  if (file === undefined) return undefined;
  const { path } = file;
  if ((session.request.flags & DELIVERY_FLAG.mtaVerify) !== 0)
    return sentTo(state, dsn("2.0.0", `forward via file: ${path}`));
  if (session.duplicates.seen(`forward ${path}`))
    return session.duplicates.has(`forward-done ${path}`) ? "finished" : undefined;
  const fd = openForwardFile(file, user);
  if (fd === undefined) return undefined;
  const propagate = !file.usedExtension && session.settings.propagate.has("forward");
  const expansion: State = {
    ...state,
    origin: "forward",
    expandedFrom: state.user,
    rights: user,
    owner: state.user,
    unmatched: propagate ? state.unmatched : "",
    recipient: withoutSuccess(state.recipient),
  };
  const { disposition, count } = await deliverFileItems(expansion, fd, path);
  if (disposition === "finished" && count === 0) return undefined;
  if (disposition !== "finished") return disposition;
  session.duplicates.seen(`forward-done ${path}`);
  if ((state.recipient.notifyFlags & NOTIFY.success) !== 0) {
    const traced = await traceExpansion(
      attemptOf(state),
      dsn("2.0.0", "alias expanded", { action: "expanded" }),
    );
    if (!traced) return defer(state, dsn("4.3.0", `${session.request.queueId}: trace service failed`));
  }
  return disposition;
}

/** The first path of forward_path that is there, as the user sees it. */
function findForwardFile(state: State, user: User): ForwardFile | undefined {
  const { forwardFilter } = state.session.settings;
  const candidates: Array<Omit<ForwardFile, "stat">> = [];
  for (const element of splitAny(parameter("forward_path"), ", \t\r\n")) {
    const expansion = expandLocal(element, state, user, forwardFilter);
    if (!expansion.ok || expansion.undefinedName) {
      if (!expansion.ok) for (const problem of expansion.problems) warning(problem);
      continue;
    }
    candidates.push({
      path: expansion.value,
      usedExtension: state.extension !== undefined && /\$[{(]?extension/.test(element),
    });
  }
  return asUser(user, () => {
    for (const candidate of candidates) {
      const stat = lookAt(candidate.path);
      if (stat !== undefined) return { ...candidate, stat };
    }
    return undefined;
  });
}

/** A path that cannot be looked at, whatever the reason, counts as absent. */
function lookAt(path: string): Stats | undefined {
  try {
    return lstatSync(pathOf(path), { throwIfNoEntry: false });
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return undefined;
  }
}

/** Opens a file that may be trusted; else says why not, and the mailbox gets the mail. */
function openForwardFile(file: ForwardFile, user: User): number | undefined {
  const { path, stat } = file;
  const refuse = (text: string): undefined => {
    warning(text);
    return undefined;
  };
  const fault = faultOf(path, stat, user);
  if (fault !== undefined) return refuse(fault);
  let fd: number;
  try {
    fd = asUser(user, () =>
      openSync(pathOf(path), constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW),
    );
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return refuse(`cannot open file ${path}: ${errorText(error)}`);
  }
  // another file may have taken the name meanwhile
  const opened = faultOf(path, fstatSync(fd), user);
  if (opened === undefined) return fd;
  closeSync(fd);
  return refuse(opened);
}

function faultOf(path: string, stat: Stats, user: User): string | undefined {
  if (!stat.isFile()) return `file ${path} is not a regular file`;
  if (stat.uid !== 0 && stat.uid !== user.uid) return `file ${path} has bad owner uid ${stat.uid}`;
  if ((stat.mode & 0o002) !== 0) return `file ${path} is world writable`;
  return undefined;
}
