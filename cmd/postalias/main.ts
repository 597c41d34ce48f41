/** postalias(1): builds and looks at the index files of alias tables (aliases(5)). */
import { makerCommand } from "../../lib/table_maker/run.ts";
import { HELP } from "./help.ts";
import { parseAlias } from "./source.ts";

export const main = makerCommand({
  name: "postalias",
  help: HELP,
  synopsis: "[-Nfinoprsuvw] [-c config_dir] [-d key] [-q key] [map_type:]file...",
  separator: ":\t",
  plainLines: false,
  parse: (line) => parseAlias(line.text),
  // tells Sendmail and its kin that the table is complete
  complete: async (builder) => builder.addRaw("@", "@"),
});
