/** `:include:` files (delivery.md 4.3). */

import type { Disposition } from "../../lib/delivery/disposition.ts";
import { dsn } from "../../lib/delivery/status.ts";
import { check, warning } from "../../lib/log/log.ts";
import { asUser, type Identity } from "../../lib/privsep/identity.ts";
import { pathOf } from "../../lib/sys/bytes.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import { safeOpen } from "../../lib/sys/files.ts";
import { closeSync, constants, fstatSync, openSync, type Stats, statSync } from "../../lib/sys/fs.ts";
import { effectiveGid, effectiveUid, lookupUserById } from "../../lib/sys/identity.ts";
import { addressLines } from "./lines.ts";
import { bounce, defer, type ItemsResult, nested, type State, tooDeep } from "./state.ts";

const CONFIGURATION_ERROR = dsn("5.3.5", "mail system configuration error");

/** Without a user in particular, as ourselves. */
const identityOf = (state: State): Identity => state.rights ?? { uid: effectiveUid(), gid: effectiveGid() };

export async function deliverInclude(outer: State, path: string): Promise<Disposition> {
  const state = nested(outer);
  if (tooDeep(state)) {
    warning(`:include: nesting limit exceeded for ${path}`);
    return bounce(state, dsn("5.4.6", ":include: nesting limit exceeded"));
  }
  const { session } = state;
  if (session.duplicates.seen(`include ${state.rights?.uid ?? 0} ${path}`)) {
    session.includeLoop = true;
    return "finished";
  }
  const refuse = (text: string): Promise<Disposition> => {
    warning(text);
    return bounce(state, CONFIGURATION_ERROR);
  };
  if (!path.startsWith("/")) return refuse(`:include:${path} uses a relative path`);
  let stat: Stats;
  try {
    stat = asUser(identityOf(state), () => statSync(pathOf(path)));
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return refuse(`unable to lookup :include: file ${path}: ${errorText(error)}`);
  }
  if (!stat.isFile()) return refuse(`:include: file ${path} is not a regular file`);
  if ((stat.mode & 0o002) !== 0) return refuse(`:include: file ${path} is world writable`);
  let reader = state;
  if (state.rights === undefined && stat.uid !== 0 && stat.uid !== effectiveUid()) {
    const user = lookupUserById(stat.uid);
    if (user === undefined) {
      warning(`cannot find username for uid ${stat.uid}`);
      warning(`${path}: cannot find :include: file owner username`);
      return defer(state, dsn("4.3.5", "mail system configuration error"));
    }
    reader = { ...state, rights: user };
  }
  const opened = asUser(identityOf(reader), () => openAs(path, stat));
  if (!opened.ok) return refuse(`cannot open include file ${path}: ${opened.reason}`);
  const expansion: State = {
    ...reader,
    origin: "include",
    owner: state.owner ?? state.recipient.recipient,
    unmatched: session.settings.propagate.has("include") ? state.unmatched : "",
  };
  return (await deliverFileItems(expansion, opened.fd, path)).disposition;
}

const READ = constants.O_RDONLY | constants.O_NONBLOCK;

/** Opens the file that `seen` is of. Root takes no name that somebody else may have linked to a file of root's. */
function openAs(path: string, seen: Stats): { ok: true; fd: number } | { ok: false; reason: string } {
  if (effectiveUid() === 0) {
    const opened = safeOpen(path, READ, 0);
    return opened.ok ? opened : { ok: false, reason: opened.reason.replace(/^cannot open file: /, "") };
  }
  try {
    const fd = openSync(pathOf(path), READ);
    const { dev, ino } = fstatSync(fd);
    if (dev === seen.dev && ino === seen.ino) return { ok: true, fd };
    closeSync(fd);
    return { ok: false, reason: "file status changed unexpectedly" };
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return { ok: false, reason: errorText(error) };
  }
}

/** Delivers to the addresses of an open file, line by line, up to the first line that has to be tried again. Closes the file. */
export async function deliverFileItems(state: State, fd: number, path: string): Promise<ItemsResult> {
  let count = 0;
  try {
    for (const line of addressLines(fd)) {
      const result = await state.session.deliverItems(state, line);
      count += result.count;
      if (result.disposition === "retry") return { disposition: "retry", count };
    }
    return { disposition: "finished", count };
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return {
      disposition: await defer(state, dsn("4.3.0", `error reading forwarding file: ${errorText(error)}`)),
      count,
    };
  } finally {
    check(`close ${path}`, () => closeSync(fd));
  }
}
