/** The Delivered-To: addresses of a message: what it has been through (loop detection). */
import { headerName, headerValue, isHeader } from "../message/header.ts";
import { Rec } from "../queue/records.ts";
import { equalFold, trimSpace } from "../sys/bytes.ts";
import { foldCase } from "../tables/casefold.ts";
import { type CopySource, contentReader } from "./copy.ts";

const LIMIT = 1000;
/** Longer headers are not looked at: no delivered address is that long. */
const HEADER_LIMIT = 10240;

/** The folded addresses in the primary header block. */
export function deliveredAddresses(
  source: Pick<CopySource, "fd" | "path" | "offset" | "size">,
  utf8: boolean,
): ReadonlySet<string> {
  const found = new Set<string>();
  const reader = contentReader(source);
  let header = "";
  let lineStart = true;
  const take = (): void => {
    if (header !== "" && equalFold(headerName(header), "delivered-to") && found.size < LIMIT)
      found.add(foldCase(trimSpace(headerValue(header)), utf8));
    header = "";
  };
  for (;;) {
    const type = reader.read();
    if (type !== Rec.NORMAL && type !== Rec.CONTINUED) break;
    const { text } = reader;
    if (!lineStart || text.startsWith(" ") || text.startsWith("\t")) {
      if (header.length < HEADER_LIMIT) header += text;
    } else {
      take();
      if (!isHeader(text)) return found;
      header = text;
    }
    lineStart = type === Rec.NORMAL;
  }
  take();
  return found;
}
