/** What a lookup table is: its outcomes, its flags and its operations (DATABASE_README). */
import type { Soon } from "../sys/when.ts";

/** A failed operation; the cause was logged by the table. `reason` is libc's text where there was one. */
export interface TableFailure {
  readonly kind: "error";
  readonly error: "retry" | "config";
  readonly reason?: string;
}

export type LookupResult =
  | { readonly kind: "found"; readonly value: string }
  | { readonly kind: "absent" }
  | TableFailure;

/** `unchanged`: removing a key that is not there, or inserting one that is. */
export type StoreResult = { readonly kind: "done" } | { readonly kind: "unchanged" } | TableFailure;

export type SequenceResult =
  | { readonly kind: "found"; readonly key: string; readonly value: string }
  | { readonly kind: "absent" }
  | TableFailure;

export const ABSENT = { kind: "absent" } as const;
export const DONE = { kind: "done" } as const;
export const UNCHANGED = { kind: "unchanged" } as const;
export const RETRY: TableFailure = { kind: "error", error: "retry" };
export const CONFIG: TableFailure = { kind: "error", error: "config" };
export const found = (value: string): LookupResult => ({ kind: "found", value });

/** Bits of `flags`; the values travel over the proxymap protocol. */
export const TableFlag = {
  warn_dup: 1 << 0,
  ignore_dup: 1 << 1,
  try0null: 1 << 2,
  try1null: 1 << 3,
  fixed: 1 << 4,
  pattern: 1 << 5,
  lock: 1 << 6,
  dup_replace: 1 << 7,
  sync_update: 1 << 8,
  no_regsub: 1 << 11,
  no_proxy: 1 << 12,
  no_unauth: 1 << 13,
  fold_fix: 1 << 14,
  fold_mul: 1 << 15,
  open_lock: 1 << 16,
  bulk_update: 1 << 17,
  multi_writer: 1 << 18,
  utf8_request: 1 << 19,
  utf8_active: 1 << 20,
  src_rhs_is_file: 1 << 21,
  surrogate: 1 << 22,
} as const;

/** no_regsub + no_proxy + no_unauth: for data that names users, commands or files. */
export const PARANOID = TableFlag.no_regsub | TableFlag.no_proxy | TableFlag.no_unauth;

/** `lock|fold_fix|utf8_request` for a set of flags. */
export function flagNames(flags: number): string {
  const names: string[] = [];
  for (const [name, bit] of Object.entries(TableFlag)) if ((flags & bit) !== 0) names.push(name);
  return names.join("|");
}

/** Who may have written a table's content. */
export type TableOwner =
  | { readonly status: "trusted" }
  | { readonly status: "untrusted"; readonly uid: number }
  | { readonly status: "unknown" };

export const TRUSTED: TableOwner = { status: "trusted" };
export const UNKNOWN_OWNER: TableOwner = { status: "unknown" };
export const ownerOf = (uid: number): TableOwner => (uid === 0 ? TRUSTED : { status: "untrusted", uid });

/** The owner of a combination: the worst member (unknown, then the first untrusted). */
export function combinedOwner(owners: ReadonlyArray<TableOwner>): TableOwner {
  return (
    owners.find((owner) => owner.status === "unknown") ??
    owners.find((owner) => owner.status === "untrusted") ??
    TRUSTED
  );
}

/** How a table is opened: for queries, for changes to an existing one, for changes with creation, for a rebuild from nothing. */
export type TableAccess = "read" | "write" | "create" | "rebuild";

/** The open(2) flags that stand for an access in the name of a registered table. */
export const ACCESS_BITS: Readonly<Record<TableAccess, number>> = {
  read: 0,
  write: 0o2,
  create: 0o102,
  rebuild: 0o1102,
};

export interface Table {
  /** `type:name`. */
  readonly name: string;
  /** Keys are complete strings; derived keys are looked up in such tables only. */
  readonly fixed: boolean;
  readonly owner: TableOwner;
  /** Current flags; proxymap sets them for each request. */
  flags: number;
  lookup(key: string): Soon<LookupResult>;
  /** The file was changed or replaced since it was opened. */
  changed(): boolean;
  close(): void;
  update?(key: string, value: string): Soon<StoreResult>;
  remove?(key: string): Soon<StoreResult>;
  /** One cursor per table; `first` rewinds it. */
  sequence?(position: "first" | "next"): Soon<SequenceResult>;
}

/** What the code of a table type gets. */
export interface TypeOptions {
  readonly access: TableAccess;
  readonly flags: number;
  /** Keys are checked and folded as UTF-8 (flag utf8_request with smtputf8_enable). */
  readonly utf8: boolean;
}

/** The code of a table type; `name` is the text after the colon. Throws TableOpenError. */
export type OpenType = (name: string, options: TypeOptions) => Promise<Table>;

/** A table that cannot be opened; the message is Postfix's. */
export class TableOpenError extends Error {
  constructor(text: string) {
    super(text);
    this.name = "TableOpenError";
  }
}

/** An empty answer, a listing or a change that a type does not offer ends the program, as in Postfix. */
export const unsupported = (name: string, operation: "lookup" | "update" | "delete" | "sequence"): string =>
  `table ${name}: ${operation} operation is not supported`;
