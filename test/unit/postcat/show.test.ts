import { closeSync, openSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { showFile } from "../../../cmd/postcat/show.ts";

const vectors = join(import.meta.dirname, "../../vectors/queue");
process.env.TZ = "UTC";

function postcat(options: string, file: string): string {
  const start = /s([0-9]+)/.exec(options)?.[1];
  const given = new Set(options.replace(/s[0-9]+_?/, ""));
  const everything = !given.has("b") && !given.has("e") && !given.has("h");
  const fd = openSync(file, "r");
  let output = "";
  const display = {
    body: everything || given.has("b"),
    envelope: everything || given.has("e"),
    header: everything || given.has("h"),
    decimalType: given.has("d"),
    offset: given.has("o"),
    fileName: given.has("f"),
    rawPointers: given.has("r"),
    verbose: given.has("v"),
    start: Number(start ?? 0),
  };
  showFile(fd, file, true, display, (bytes) => {
    output += bytes.toString("latin1");
  });
  closeSync(fd);
  return output;
}

t.test("the same output as the reference", async (t) => {
  const home = process.cwd();
  process.chdir(join(vectors, "files"));
  for (const name of readdirSync(join(vectors, "postcat"))) {
    const [, file, options = ""] = /^(.*)\.postcat_([^.]*)\.txt$/.exec(name) ?? [];
    const wanted = readFileSync(join(vectors, "postcat", name), "latin1");
    t.equal(postcat(options === "none" ? "" : options, `${file}.qf`), wanted, name);
  }
  process.chdir(home);
});
