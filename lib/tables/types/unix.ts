/** `unix:passwd.byname`, `unix:group.byname`: the system's users and groups. */
import { warning } from "../../log/log.ts";
import { errorText, SysError } from "../../sys/errno.ts";
import { groupLine, lookupGroupById, lookupUserById, passwdLine } from "../../sys/identity.ts";
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
  readonly probe: () => unknown;
  readonly trouble: string;
}

const DATABASES: ReadonlyMap<string, Database> = new Map<string, Database>([
  [
    "passwd.byname",
    { find: passwdLine, probe: () => lookupUserById(0), trouble: "cannot access UNIX password database" },
  ],
  [
    "group.byname",
    { find: groupLine, probe: () => lookupGroupById(0), trouble: "cannot access UNIX group database" },
  ],
]);

class UnixTable implements Table {
  readonly fixed = true;
  readonly owner = TRUSTED;
  private probed = false;
  constructor(
    readonly name: string,
    public flags: number,
    private readonly database: Database,
  ) {}
  lookup(key: string): Promise<LookupResult> {
    return Promise.resolve(this.find(foldFixedKey(this.flags, key)));
  }
  private find(key: string): LookupResult {
    const { find, probe, trouble } = this.database;
    try {
      const line = find(key);
      if (line !== undefined) return found(line);
      if (!this.probed && probe() === undefined) {
        warning(`${trouble}: No such file or directory`);
        return RETRY;
      }
      this.probed = true;
      return ABSENT;
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
