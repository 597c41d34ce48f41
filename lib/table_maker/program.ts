/** What is different between postmap and postalias. */
import type { LogicalLine } from "../config/lines.ts";
import type { CommandHelp } from "../daemon/help.ts";
import type { IndexBuilder } from "../tables/build.ts";

export type SourceRecord =
  | { readonly kind: "record"; readonly key: string; readonly value: string; readonly problem?: string }
  | { readonly kind: "skip"; readonly problem: string };

export interface MakerProgram {
  readonly name: string;
  readonly help: CommandHelp;
  /** What follows the name in the usage message. */
  readonly synopsis: string;
  /** Between a key and its value in listings. */
  readonly separator: string;
  /** A PlainLine is a record as it stands. */
  readonly plainLines: boolean;
  /** One logical line of the source, valid UTF-8 where keys are. `problem` is logged after `FILE, line N: `. */
  parse(line: LogicalLine): SourceRecord;
  /** Adds what every table of this kind has. */
  complete(builder: IndexBuilder): Promise<void>;
}
