/** postmap(1): builds and looks at the index files of lookup tables. */
import { makerCommand } from "../../lib/table_maker/run.ts";
import { parseSourceLine } from "../../lib/tables/source.ts";
import { HELP } from "./help.ts";

export const main = makerCommand({
  name: "postmap",
  help: HELP,
  synopsis: "[-bfFhimnNoprsuUvw] [-c config_dir] [-d key] [-q key] [map_type:]file...",
  separator: "\t",
  plainLines: true,
  parse: (line) => parseSourceLine(line.text, false),
  complete: () => Promise.resolve(),
});
