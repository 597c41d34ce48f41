/** `unix:passwd.byname`, `unix:group.byname`: the system's users and groups. */
import { warning } from "../../log/log.ts";
import { errorText, SysError } from "../../sys/errno.ts";
import { doubtOf, groupLine, lookupGroupById, lookupUserById, passwdLine } from "../../sys/identity.ts";
import {
  ABSENT,
  found,
  type LookupResult,
  type OpenType,
  RETRY,
  type Table,
  TableFlag,
  TableOpenError,
  TRUSTED,
} from "../table.ts";
import { foldFixedKey } from "./memory.ts";

interface Database {
  readonly find: (key: string) => string | undefined;
  /** An entry that must exist: without it the database cannot be read. */
  readonly file: "/etc/passwd" | "/etc/group";
  readonly root: () => unknown;
  readonly trouble: string;
}

const DATABASES: ReadonlyMap<string, Database> = new Map<string, Database>([
  [
    "passwd.byname",
    {
      find: passwdLine,
      file: "/etc/passwd",
      root: () => lookupUserById(0),
      trouble: "cannot access UNIX password database",
    },
  ],
  [
    "group.byname",
    {
      find: groupLine,
      file: "/etc/group",
      root: () => lookupGroupById(0),
      trouble: "cannot access UNIX group database",
    },
  ],
]);

class UnixTable implements Table {
  readonly fixed = true;
  readonly owner = TRUSTED;
  constructor(
    readonly name: string,
    public flags: number,
    private readonly database: Database,
  ) {}
  lookup(key: string): LookupResult {
    return this.find(foldFixedKey(this.flags, key));
  }
  private find(key: string): LookupResult {
    const { find, file, root, trouble } = this.database;
    try {
      const line = find(key);
      if (line !== undefined) return found(line);
      const doubt = doubtOf(file, root);
      if (doubt === undefined) return ABSENT;
      warning(`${trouble}: ${doubt}`);
      return RETRY;
    } catch (failure) {
      if (!(failure instanceof SysError)) throw failure;
      warning(`${trouble}: ${errorText(failure)}`);
      return RETRY;
    }
  }
  changed(): boolean {
    return false;
  }
  close(): void {}
}

export const openUnix: OpenType = (name, options) => {
  const database = DATABASES.get(name);
  if (database === undefined) throw new TableOpenError(`unknown table: unix:${name}`);
  return Promise.resolve(new UnixTable(`unix:${name}`, options.flags | TableFlag.fixed, database));
};
