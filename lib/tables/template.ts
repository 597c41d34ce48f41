/** Query and result templates of database tables: %s %u %d %S %U %D %1..%9 (mysql_table(5) and its kin). */
import { fatal, warning } from "../log/log.ts";
import { splitAny } from "../sys/bytes.ts";

type Code = "s" | "u" | "d" | "S" | "U" | "D" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9";

const isCode = (char: string): char is Code => char !== "" && "sudSUD123456789".includes(char);

export type TemplatePurpose = "query" | "result";

/** Text and codes, in order. */
export class Template {
  private constructor(
    private readonly parts: ReadonlyArray<{ readonly text: string; readonly code: Code | undefined }>,
    readonly text: string,
  ) {}

  /** Parses a template; a bad code is fatal. `title` is the table's settings file. */
  static parse(title: string, text: string, purpose: TemplatePurpose): Template {
    const parts: Array<{ text: string; code: Code | undefined }> = [];
    let literal = "";
    for (let i = 0; i < text.length; i++) {
      const char = text.charAt(i);
      if (char !== "%") {
        literal += char;
        continue;
      }
      const code = text.charAt(++i);
      if (code === "%") literal += "%";
      else if (isCode(code)) {
        parts.push({ text: literal, code });
        literal = "";
      } else fatal(`db_common_parse: ${title}: Invalid ${purpose} template: ${text}`);
    }
    if (literal !== "") parts.push({ text: literal, code: undefined });
    return new Template(parts, text);
  }

  /** The template uses parts of the key, so that the key must be given. */
  has(codes: string): boolean {
    return this.parts.some((part) => part.code !== undefined && codes.includes(part.code));
  }

  /** Whether a key has the parts that this result template takes from it: without them it is not looked up. */
  suits(key: string): boolean {
    const parts = split(key);
    return this.parts.every(
      ({ code }) =>
        code === undefined || "sud".includes(code) || insert(code, "", parts, key, parts) !== undefined,
    );
  }

  /**
   * The expanded text; undefined when a part that the template needs is missing. `value` is the key for a query, a result value for a
   * result template; `key` is then the key. `quote` protects inserted text.
   */
  expand(value: string, key: string, quote: (text: string) => string = (text) => text): string | undefined {
    const own = split(value);
    const keyParts = value === key ? own : split(key);
    let out = "";
    for (const { text, code } of this.parts) {
      out += text;
      if (code === undefined) continue;
      const inserted = insert(code, value, own, key, keyParts);
      if (inserted === undefined) return undefined;
      out += quote(inserted);
    }
    return out;
  }
}

interface Parts {
  readonly local: string;
  readonly domain: string | undefined;
}

function split(text: string): Parts {
  const at = text.lastIndexOf("@");
  return at < 0
    ? { local: text, domain: undefined }
    : { local: text.slice(0, at), domain: text.slice(at + 1) };
}

const unlessEmpty = (text: string | undefined): string | undefined => (text === "" ? undefined : text);

function insert(code: Code, value: string, own: Parts, key: string, keyParts: Parts): string | undefined {
  switch (code) {
    case "s":
      return value;
    case "u":
      return unlessEmpty(own.local);
    case "d":
      return unlessEmpty(own.domain);
    case "S":
      return key;
    case "U":
      return unlessEmpty(keyParts.local);
    case "D":
      return unlessEmpty(keyParts.domain);
    default: {
      const labels = splitAny(keyParts.domain ?? "", ".");
      return labels[labels.length - Number(code)];
    }
  }
}

export type ResultJoin =
  | { readonly kind: "joined"; readonly value: string | undefined }
  /** More values than expansion_limit. */
  | { readonly kind: "limit" };

/** Formats and joins the values of one lookup; NULL values are left out silently, empty ones with a warning. */
export function joinResults(
  tableName: string,
  template: Template,
  key: string,
  values: Iterable<string | undefined>,
  limit: number,
): ResultJoin {
  const results: string[] = [];
  for (const value of values) {
    if (value === undefined) continue;
    if (value === "") {
      warning(`table "${tableName}": empty lookup result for: "${key}" -- ignored`);
      continue;
    }
    const text = template.expand(value, key);
    if (text === undefined) continue;
    results.push(text);
    if (limit > 0 && results.length > limit) return { kind: "limit" };
  }
  return { kind: "joined", value: results.length === 0 ? undefined : results.join(",") };
}
