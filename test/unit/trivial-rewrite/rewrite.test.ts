import { readFileSync } from "node:fs";
import t from "tap";
import {
  type RewriteContext,
  type RewriteOptions,
  rewriteAddress,
} from "../../../cmd/trivial-rewrite/rewrite.ts";
import { encodeUtf8 } from "../../../lib/sys/bytes.ts";

interface Row {
  config: Record<string, string>;
  rule: string;
  address: string;
  result: string;
}
const rows: Row[] = JSON.parse(readFileSync("test/vectors/processing/rewrite.json", "utf8"));

t.test("every captured rewrite", (t) => {
  for (const row of rows) {
    const { config } = row;
    const remote = config.remote_header_rewrite_domain ?? "";
    const context: RewriteContext =
      row.rule === "local"
        ? { origin: "example.com", domain: "example.com" }
        : { origin: remote, domain: remote };
    const options: RewriteOptions = {
      swapBangpath: config.swap_bangpath !== "no",
      percentHack: config.allow_percent_hack !== "no",
      appendAtMyorigin: config.append_at_myorigin !== "no",
      appendDotMydomain: config.append_dot_mydomain === "yes",
    };
    const result = row.address === "" ? "" : rewriteAddress(encodeUtf8(row.address), context, options);
    t.equal(result, encodeUtf8(row.result), JSON.stringify(row));
  }
  t.end();
});
