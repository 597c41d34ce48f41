/** postconf(1): shows and edits main.cf and master.cf. */

import { DEFAULT_DIRECTORY } from "../../lib/config/directory.ts";
import { offerHelp } from "../../lib/daemon/help.ts";
import type { Invocation, Main } from "../../lib/daemon/program.ts";
import { fatal, setLogSinks, warning } from "../../lib/log/log.ts";
import { toBytes } from "../../lib/sys/bytes.ts";
import { writeSync } from "../../lib/sys/fs.ts";
import type { EditMode } from "./edit_main.ts";
import { HELP } from "./help.ts";
import { givenDirectory, type Request, readRequest } from "./options.ts";
import type { Shown } from "./show.ts";

export const main: Main = async ({ argv0, args }: Invocation) => {
  offerHelp(HELP, { args });
  process.umask(0o022);
  const complain = (line: string): void => write(2, `${line}\n`);
  setLogSinks([({ level, text }) => complain(`${argv0}: ${level === "info" ? "" : `${level}: `}${text}`)]);
  const request = readRequest(argv0, args, complain);
  const mode = editMode(request);
  if (mode !== undefined) await edit(request, mode);
  else if (isListing(request)) await list(request);
  else await show(request, argv0);
  process.exit(0);
};

function write(fd: number, text: string): void {
  let bytes: Uint8Array = toBytes(text);
  while (bytes.length > 0) bytes = bytes.subarray(writeSync(fd, bytes));
}

function editMode({ options }: Request): EditMode | undefined {
  if (options.has("-e")) return "edit";
  if (options.has("-X")) return "exclude";
  return options.has("-#") ? "comment" : undefined;
}

async function edit({ options, names }: Request, mode: EditMode): Promise<void> {
  if (names.length === 0)
    fatal(mode === "edit" ? "-e requires name=value argument" : "missing service argument");
  const directory = givenDirectory() ?? DEFAULT_DIRECTORY;
  const target = (["-M", "-F", "-P"] as const).find((option) => options.has(option));
  if (target === undefined) {
    const { editMain } = await import("./edit_main.ts");
    editMain(`${directory}/main.cf`, mode, names);
  } else {
    const { editMaster } = await import("./edit_master.ts");
    editMaster(`${directory}/master.cf`, target, mode, names);
  }
}

const isListing = ({ options }: Request): boolean =>
  (["-a", "-A", "-b", "-l", "-m", "-t", "-T"] as const).some((option) => options.has(option));

/** What this build has: lock methods, table types, and the like. */
async function list({ options, tlsMode, names }: Request): Promise<void> {
  if (options.has("-l")) write(1, "flock\nfcntl\ndotlock\n");
  if (options.has("-m")) {
    const { loadConfiguration } = await import("../../lib/config/configuration.ts");
    const { tableTypes } = await import("../../lib/tables/registry.ts");
    loadConfiguration({ processName: "postconf" });
    write(
      1,
      tableTypes()
        .map((type) => `${type}\n`)
        .join(""),
    );
  }
  if (tlsMode !== undefined) {
    const { showTls } = await import("./tls.ts");
    write(1, showTls(tlsMode));
  }
  if (options.has("-b") || options.has("-t")) {
    const { runBounceTemplates } = await import("./bounce_templates.ts");
    runBounceTemplates(options.has("-b") ? "-SVnexpand_templates" : "-SVndump_templates", names);
  }
}

async function show(request: Request, program: string): Promise<void> {
  const { Sources } = await import("./sources.ts");
  const { findReferences } = await import("./references.ts");
  const { warnAboutSettings } = await import("./warnings.ts");
  const { showEntries, showFields, showParameters, showSettings } = await import("./show.ts");
  const sources = new Sources(request, program);
  for (const [name, value] of sources.readOnly)
    warning(`${sources.mainPath}: read-only parameter assignment: ${name}=${value}`);
  const references = findReferences(sources, request.options.has("-d"));
  const { options } = request;
  const nothing = (): void => undefined;
  const shown: Shown = options.has("-M")
    ? showEntries(request, sources)
    : options.has("-F")
      ? showFields(request, sources)
      : options.has("-P")
        ? showSettings(request, sources, references)
        : { out: showParameters(request, sources, references), unmatched: nothing };
  write(1, shown.out);
  shown.unmatched();
  const master = options.has("-M") || options.has("-F") || options.has("-P");
  if (!options.has("-d") && !request.quiet) warnAboutSettings(sources, references, master);
}
