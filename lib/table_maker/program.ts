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
  /** One logical line of the source. `problem` is logged after `FILE, line N: `. */
  parse(line: LogicalLine, utf8: boolean): SourceRecord;
  /** Adds what every table of this kind has. */
  complete(builder: IndexBuilder): Promise<void>;
}
