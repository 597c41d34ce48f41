/** Notice templates: the built-in ones and those of bounce_template_file (bounce(5), delivery.md 16). */

import { configuration, parameter } from "../../lib/config/configuration.ts";
import { domainToUtf8 } from "../../lib/config/domain_functions.ts";
import { expandMacros } from "../../lib/config/expand.ts";
import { fatal, warning } from "../../lib/log/log.ts";
import { labelLength } from "../../lib/message/header.ts";
import { splitNameValue } from "../../lib/queue/attributes.ts";
import { fromBytes, isAlnumCode, isAscii, lowerAscii, pathOf, trimSpace } from "../../lib/sys/bytes.ts";
import { errorText } from "../../lib/sys/errno.ts";
import { readFileSync } from "../../lib/sys/fs.ts";
import { DEFAULT_TEMPLATES } from "./default_templates.ts";

export const TEMPLATE_CLASSES = ["failure", "delay", "success", "verify"] as const;
export type TemplateClass = (typeof TEMPLATE_CLASSES)[number];

export interface Template {
  readonly class: TemplateClass;
  /** Where it comes from, for log texts. */
  readonly origin: string;
  readonly charset: string;
  /** 8bit when its text has bytes outside ASCII. */
  readonly encoding: "7bit" | "8bit";
  readonly from: string;
  readonly subject: string;
  readonly postmasterSubject: string | undefined;
  /** Unexpanded. */
  readonly body: ReadonlyArray<string>;
}

export type Templates = Readonly<Record<TemplateClass, Template>>;

export const BUILT_IN_ORIGIN = "[built-in]";
export const BUILT_IN_FROM = "Mail Delivery System <MAILER-DAEMON>";

/** The templates in force. */
export function loadTemplates(): Templates {
  const builtIn = parseTemplates(DEFAULT_TEMPLATES, BUILT_IN_ORIGIN);
  const file = parameter("bounce_template_file");
  const own = file === "" ? new Map<TemplateClass, Template>() : parseTemplates(readTemplateFile(file), file);
  const choose = (name: TemplateClass): Template => {
    const template = own.get(name) ?? builtIn.get(name);
    if (template === undefined) throw new Error(`no built-in ${name} template`);
    return template;
  };
  return {
    failure: choose("failure"),
    delay: choose("delay"),
    success: choose("success"),
    verify: choose("verify"),
  };
}

function readTemplateFile(path: string): string {
  try {
    return fromBytes(readFileSync(pathOf(path)));
  } catch (error) {
    return fatal(`open ${path}: ${errorText(error)}`);
  }
}

function parseTemplates(text: string, origin: string): Map<TemplateClass, Template> {
  const templates = new Map<TemplateClass, Template>();
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  for (let index = 0; index < lines.length; index++) {
    const line = lines[index] ?? "";
    const trimmed = trimSpace(line);
    if (trimmed === "" || trimmed.startsWith("#")) continue;
    // Postfix counts the line that it would read next
    let where = `${origin}, line ${index + 2}`;
    const parsed = splitNameValue(line);
    if (parsed.kind === "malformed") fatal(`${where}: ${parsed.error}: "${trimmed}"`);
    const here = takeDocument(lines, index, parsed.value, origin);
    index = here.last;
    where = `${origin}, line ${index + 2}`;
    const name = TEMPLATE_CLASSES.find((candidate) => parsed.name === `${candidate}_template`);
    if (name === undefined) {
      warning(`${where}: unknown template name: ${parsed.name} -- ignoring this template`);
      continue;
    }
    const template = parseTemplate(name, here.lines, origin);
    if (template !== undefined) templates.set(name, template);
  }
  return templates;
}

interface Document {
  readonly lines: ReadonlyArray<string>;
  /** Index of the last line of the file that belongs to it. */
  readonly last: number;
}

/** The lines between `<<MARKER` and MARKER. */
function takeDocument(lines: ReadonlyArray<string>, start: number, value: string, origin: string): Document {
  const where = `${origin}, line ${start + 2}`;
  if (!value.startsWith("<<")) return { lines: [value], last: start };
  const marker = trimSpace(value.slice(2));
  if (marker === "") fatal(`${where}: missing end marker after <<`);
  if ([...marker].some((character) => !isAlnumCode(character.charCodeAt(0))))
    fatal(`${where}: malformed end marker after <<`);
  const end = lines.indexOf(marker, start + 1);
  if (end >= 0) return { lines: lines.slice(start + 1, end), last: end };
  warning(`${origin}, line ${lines.length + 1}: missing "${marker}" end marker`);
  return { lines: lines.slice(start + 1), last: lines.length - 1 };
}

interface TemplateHeaders {
  charset: string;
  from: string;
  subject: string;
  postmasterSubject: string | undefined;
}

const SUBJECTS: Readonly<Record<TemplateClass, Pick<TemplateHeaders, "subject" | "postmasterSubject">>> = {
  failure: {
    subject: "Undelivered Mail Returned to Sender",
    postmasterSubject: "Postmaster Copy: Undelivered Mail",
  },
  delay: {
    subject: "Delayed Mail (still being retried)",
    postmasterSubject: "Postmaster Warning: Delayed Mail",
  },
  success: { subject: "Successful Mail Delivery Report", postmasterSubject: undefined },
  verify: { subject: "Mail Delivery Status Report", postmasterSubject: undefined },
};

/** The index of the first line that is not empty. */
function afterBlank(lines: ReadonlyArray<string>, start: number): number {
  let at = start;
  while (lines[at] === "") at++;
  return at;
}

/** The template of one class; undefined, with a warning, when it cannot be used. */
function parseTemplate(
  name: TemplateClass,
  lines: ReadonlyArray<string>,
  origin: string,
): Template | undefined {
  const ignore = (what: string): undefined => {
    warning(`${origin}: ${what} ${name} template -- ignoring this template`);
    return undefined;
  };
  const headers: TemplateHeaders = { charset: "us-ascii", from: BUILT_IN_FROM, ...SUBJECTS[name] };
  let at = afterBlank(lines, 0);
  for (; at < lines.length; at++) {
    const line = lines[at] ?? "";
    const length = labelLength(line);
    if (length === 0) break;
    const label = line.slice(0, length);
    const value = trimSpace(line.slice(line.indexOf(":") + 1));
    if (value === "") return ignore(`empty "${label}" header value in`);
    if (!isAscii(value)) return ignore(`non-ASCII "${label}" header value in`);
    switch (lowerAscii(label)) {
      case "charset":
        headers.charset = value;
        break;
      case "from":
        headers.from = value;
        break;
      case "subject":
        headers.subject = value;
        break;
      case "postmaster-subject":
        if (name !== "failure" && name !== "delay") return ignore(`inapplicable "${label}" header label in`);
        headers.postmasterSubject = value;
        break;
      default:
        return ignore(`unknown "${label}" header label in`);
    }
  }
  const body = lines.slice(afterBlank(lines, at));
  if (body.length === 0) return ignore("missing message text in");
  const encoding = body.every(isAscii) ? "7bit" : "8bit";
  if (encoding === "8bit" && lowerAscii(headers.charset) === "us-ascii") {
    warning(`${origin}: 8-bit message text in ${name} template`);
    warning("please specify a charset value other than us-ascii");
    warning("-- ignoring this template for now");
    return undefined;
  }
  return { class: name, origin, encoding, body, ...headers };
}

/** The lines of a template's text with `$name` replaced. */
export const expandTemplate = (template: Template): string[] =>
  template.body.map((line) => {
    const expansion = expandMacros(line, {
      recursive: false,
      lookup: (name) => lookupMacro(template, name),
    });
    if (!expansion.ok) fatal(`${template.origin}: bad $name syntax in ${template.class} template: ${line}`);
    if (expansion.undefinedName)
      fatal(`${template.origin}: undefined $name in ${template.class} template: ${line}`);
    return expansion.value;
  });

const TIME_PARAMETERS = ["delay_warning_time", "maximal_queue_lifetime"] as const;
const UNITS = new Map([
  ["seconds", 1],
  ["minutes", 60],
  ["hours", 3600],
  ["days", 86400],
  ["weeks", 604800],
]);

function lookupMacro(template: Template, name: string): string | undefined {
  const time = TIME_PARAMETERS.find((candidate) => name.startsWith(`${candidate}_`));
  if (time !== undefined) return timeMacro(template, name, time);
  if (name !== "myhostname" && name !== "mydomain") return configuration().lookup(name);
  const domain = parameter(name);
  if (!parameter("smtputf8_enable")) return domain;
  const converted = domainToUtf8(domain);
  return converted.ok ? converted.value : domain;
}

/** A time in the unit that the name ends in, rounded down. */
function timeMacro(template: Template, name: string, base: (typeof TIME_PARAMETERS)[number]): string {
  const seconds = parameter(base);
  const unit = name.slice(base.length + 1);
  const divisor = UNITS.get(unit);
  if (divisor === undefined)
    return fatal(`${template.origin}: unrecognized suffix "${unit}" in parameter "${name}"`);
  const result = Math.floor(seconds / divisor);
  const complain = (what: string, advice: string): void => {
    warning(`${template.origin}: ${what} in ${template.class} template conversion of parameter "${base}"`);
    warning(`please ${advice} time unit "${unit}" of "${name}" in ${template.class} template`);
    warning("for instructions see the bounce(5) manual");
  };
  if (result > 999 && divisor < 86400) complain(`excessive result "${result}"`, "increase");
  else if (result === 0 && seconds > 0) complain("zero result", "reduce");
  return String(result);
}

/** The templates in the format of bounce_template_file (postconf -t). */
export const printTemplates = (templates: Templates): string =>
  printBlocks(templates, (template) => {
    const headers = [
      `Charset: ${template.charset}`,
      `From: ${template.from}`,
      `Subject: ${template.subject}`,
    ];
    if (template.postmasterSubject !== undefined)
      headers.push(`Postmaster-Subject: ${template.postmasterSubject}`);
    return { name: `${template.class}_template`, lines: [...headers, "", ...template.body] };
  });

/** The texts with `$name` replaced (postconf -b). */
export const printExpanded = (templates: Templates): string =>
  printBlocks(templates, (template) => ({
    name: `expanded_${template.class}_text`,
    lines: expandTemplate(template),
  }));

const printBlocks = (
  templates: Templates,
  block: (template: Template) => { name: string; lines: ReadonlyArray<string> },
): string =>
  TEMPLATE_CLASSES.map((name) => block(templates[name]))
    .map(({ name, lines }) => `${name} = <<EOF\n${lines.join("\n")}\nEOF\n`)
    .join("\n");
