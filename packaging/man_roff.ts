/**
 * Turns one page source into man(7) roff. The format of packaging/man/NAME.SECTION.page:
 *
 *   # NAME(SECTION): summary          first line; no summary for a page whose program has cmd/NAME/help.ts
 *   @also other(5)                    another name of the page
 *   ## HEADING, ### Subheading
 *   four spaces before each line      text as it is
 *   - item                            list
 *   : term                            a term; its text follows up to an empty line
 *   @options                          what the program's options do; `+ -x` and text after it says more about one
 *   @service-options, @parameters [program], @all-parameters
 *   `literal`, *variable*, name(8)
 */

export interface Entry {
  readonly term: string;
  readonly text: ReadonlyArray<string>;
}

/** What pages take from the declarations in the code. */
export interface Declared {
  /** The lines of SYNOPSIS; undefined when the page has its own. */
  readonly synopsis: ReadonlyArray<string> | undefined;
  readonly summary: string | undefined;
  readonly options: ReadonlyArray<Entry>;
  readonly serviceOptions: ReadonlyArray<Entry>;
  parameters(program: string): ReadonlyArray<Entry>;
  allParameters(): ReadonlyArray<Entry>;
}

export interface Page {
  readonly name: string;
  readonly section: number;
  readonly aliases: ReadonlyArray<{ readonly name: string; readonly section: number }>;
  readonly roff: string;
}

const REFERENCE = /^([A-Za-z0-9_.-]+)\((\d)\)$/;

function reference(text: string): { name: string; section: number } {
  const match = REFERENCE.exec(text);
  if (match === null) throw new Error(`not a page name: ${text}`);
  return { name: match[1] ?? "", section: Number(match[2]) };
}

const SPECIAL: Readonly<Record<string, string>> = {
  "\\": "\\e",
  "-": "\\-",
  "^": "\\(ha",
  "~": "\\(ti",
  "`": "\\(ga",
  "'": "\\(aq",
  '"': "\\(dq",
};

const escapeText = (text: string): string => text.replace(/[\\^~`'"-]/g, (char) => SPECIAL[char] ?? char);

/** A literal; a long one may be broken after its separators. */
function literal(text: string): string {
  const escaped = escapeText(text);
  return escaped.length > 40 ? escaped.replace(/([,/|{}$@:=_.])(?=.)/g, "$1\\:") : escaped;
}

/** Inline marks: literal, *variable*, page(8). */
function inline(text: string): string {
  return text
    .split(/(`[^`]+`|\*[^*\s][^*]*\*|\b[A-Za-z0-9_.-]+\(\d\))/)
    .map((part) => {
      const page = REFERENCE.exec(part);
      if (page !== null) return `\\fB${escapeText(page[1] ?? "")}\\fR(${page[2]})`;
      if (part.length > 2 && part.startsWith("`")) return `\\fB${literal(part.slice(1, -1))}\\fR`;
      if (part.length > 2 && part.startsWith("*") && part.endsWith("*"))
        return `\\fI${escapeText(part.slice(1, -1))}\\fR`;
      return escapeText(part);
    })
    .join("");
}

/** No text line may look like a request. */
const textLine = (text: string): string => (/^[.']/.test(text) ? `\\&${text}` : text);

class Writer {
  readonly lines: string[] = [];
  request(...line: string[]): void {
    this.lines.push(...line);
  }
  text(text: string): void {
    this.lines.push(textLine(inline(text)));
  }
  paragraph(text: string): void {
    this.request(".PP");
    this.text(text);
  }
  entry({ term, text }: Entry): void {
    this.request(".TP");
    this.text(term);
    text.forEach((paragraph, index) => {
      if (index > 0) this.request(".IP");
      this.text(paragraph);
    });
  }
  example(lines: ReadonlyArray<string>, indent = true): void {
    this.request(...(indent ? [".PP", ".RS 4"] : []), ".nf");
    for (const line of lines) this.lines.push(textLine(escapeText(line)) || ".sp");
    this.request(".fi", ...(indent ? [".RE"] : []));
  }
}

/** Lines of the source, taken one after the other. */
class Source {
  private at = 0;
  constructor(private readonly lines: ReadonlyArray<string>) {}
  get current(): string | undefined {
    return this.lines[this.at];
  }
  advance(): void {
    this.at++;
  }
  /** The lines that `belongs` accepts, from here on. */
  takeWhile(belongs: (line: string) => boolean): string[] {
    const taken: string[] = [];
    for (let line = this.current; line !== undefined && belongs(line); line = this.current) {
      taken.push(line);
      this.at++;
    }
    return taken;
  }
  skipEmpty(): void {
    this.takeWhile((line) => line.trim() === "");
  }
}

const isText = (line: string): boolean => line.trim() !== "" && !/^(#|@|: |\+ |- | {4})/.test(line);

/** Renders a page. `today` dates its footer, `release` is the product's. */
export function renderPage(text: string, release: string, declare: (name: string) => Declared): Page {
  const source = new Source(text.split("\n").map((line) => line.trimEnd()));
  const head = /^# (\S+\(\d\))(?:: (.+))?$/.exec(source.current ?? "");
  if (head === null) throw new Error(`bad first line: ${source.current}`);
  source.advance();
  const { name, section } = reference(head[1] ?? "");
  const declared = declare(name);
  const summary = head[2] ?? declared.summary;
  if (summary === undefined) throw new Error(`${name}(${section}): no summary`);
  const aliases: Page["aliases"][number][] = [];
  for (const line of source.takeWhile((candidate) => candidate === "" || candidate.startsWith("@also ")))
    aliases.push(...line.split(" ").slice(1).map(reference));

  const out = new Writer();
  out.request(
    `.TH ${name.toUpperCase().replaceAll("-", "\\-")} ${section} "" "Posthaste ${release}" "Posthaste"`,
    ".ad l",
    ".nh",
    ".SH NAME",
    `${[name, ...aliases.map((alias) => alias.name)].map(escapeText).join(", ")} \\- ${escapeText(summary)}`,
  );
  const commandForms = source.current?.startsWith("## SYNOPSIS") === true ? undefined : declared.synopsis;
  if (commandForms !== undefined) {
    out.request(".SH SYNOPSIS", ".PD 0");
    for (const form of commandForms) {
      out.request(".HP 4");
      out.request(`\\fB${escapeText(name)}\\fR ${escapeText(form)}`);
    }
    out.request(".PD");
  }
  for (source.skipEmpty(); source.current !== undefined; source.skipEmpty())
    block(source, out, declared, name);
  return { name, section, aliases, roff: `${out.lines.join("\n")}\n` };
}

function block(source: Source, out: Writer, declared: Declared, name: string): void {
  const line = source.current ?? "";
  if (line.startsWith("#")) {
    source.advance();
    const sub = line.startsWith("### ");
    out.request(`.${sub ? "SS" : "SH"} "${escapeText(line.replace(/^#+ /, ""))}"`);
    if (line === "## SYNOPSIS") {
      source.skipEmpty();
      out.example(
        source.takeWhile((next) => next.startsWith("    ")).map((next) => next.slice(4)),
        false,
      );
    }
  } else if (line.startsWith("@")) {
    source.advance();
    directive(line, source, out, declared, name);
  } else if (line.startsWith(": ")) {
    source.advance();
    out.entry({ term: line.slice(2), text: [source.takeWhile(isText).join(" ")] });
  } else if (line.startsWith("- ")) {
    source.advance();
    out.request(".IP \\(bu 2");
    out.text([line.slice(2), ...source.takeWhile(isText).map((next) => next.trim())].join(" "));
  } else if (line.startsWith("    ")) {
    const taken = source.takeWhile((next) => next === "" || next.startsWith("    "));
    while (taken.at(-1) === "") taken.pop();
    out.example(taken.map((next) => next.slice(4)));
  } else {
    const words = source.takeWhile(isText);
    if (words.length === 0) throw new Error(`${name}: cannot read "${line}"`);
    out.paragraph(words.join(" "));
  }
}

function directive(line: string, source: Source, out: Writer, declared: Declared, name: string): void {
  const [word, argument = name] = line.split(" ");
  switch (word) {
    case "@options": {
      const more = optionDetails(source);
      for (const { term, text } of declared.options) {
        const key = term.replace(/[`*]/g, "");
        out.entry({ term, text: [...text, ...(more.get(key) ?? [])] });
        more.delete(key);
      }
      if (more.size > 0) throw new Error(`${name}: no such option: ${[...more.keys()].join(" ")}`);
      return;
    }
    case "@service-options":
      for (const entry of declared.serviceOptions) out.entry(entry);
      return;
    case "@parameters":
      for (const entry of declared.parameters(argument)) out.entry(entry);
      return;
    case "@all-parameters":
      for (const entry of declared.allParameters()) out.entry(entry);
      return;
    default:
      throw new Error(`${name}: unknown directive ${line}`);
  }
}

function optionDetails(source: Source): Map<string, string[]> {
  const more = new Map<string, string[]>();
  for (source.skipEmpty(); source.current?.startsWith("+ ") === true; source.skipEmpty()) {
    const option = source.current.slice(2);
    source.advance();
    more.set(option, [source.takeWhile(isText).join(" ")]);
  }
  return more;
}
