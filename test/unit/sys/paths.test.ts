import { posix } from "node:path";
import t from "tap";
import { baseName, directoryOf } from "../../../lib/sys/paths.ts";

t.test("parts of paths are those of node:path", async (t) => {
  for (const path of [
    "a",
    "/a",
    "a/b",
    "/a/b",
    "./a",
    "../a",
    "/",
    "",
    "a/b/",
    "/a/",
    "/a/b//",
    "/etc/x.y/z",
  ])
    t.equal(directoryOf(path), posix.dirname(path), path);
  for (const path of ["a", "/a", "a/b", "/usr/sbin/x.y", ""]) t.equal(baseName(path), posix.basename(path));
});
