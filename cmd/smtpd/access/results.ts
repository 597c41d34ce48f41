/** What a value of an access(5) table does (smtpd.md 20.5, tables.md 11). */
import { splitBraced } from "../../../lib/config/lists.ts";
import { warning } from "../../../lib/log/log.ts";
import { isHeader } from "../../../lib/message/header.ts";
import { splitStatus } from "../../../lib/smtp/dsn.ts";
import { upperAscii } from "../../../lib/sys/bytes.ts";
import {
  adaptStatus,
  type Evaluation,
  type Frame,
  HangUp,
  type Refusal,
  rejected,
  type Verdict,
} from "./evaluation.ts";

/** Where a result comes from: a table, or a policy server. */
export interface TableQuery {
  readonly table: { readonly name: string };
  readonly frame: Frame;
  /** The restriction, for permit logging. */
  readonly check: string;
  /** What was asked for, in messages about the table. */
  readonly subject: string;
}

const DIGITS = /^[0-9]+$/;
const NUMBERED = /^([45][0-9][0-9])[ \t]+(.*)$/s;

/** Acts on the value found for `query`. */
export async function tableResult(
  evaluation: Evaluation,
  query: TableQuery,
  value: string,
): Promise<Verdict> {
  const { frame, table } = query;
  const { settings, session, subject } = evaluation;
  const blank = value.search(/[ \t]/);
  const word = blank < 0 ? value : value.slice(0, blank);
  const text = blank < 0 ? "" : value.slice(blank).replace(/^[ \t]+/, "");
  const command = upperAscii(word);
  const refusal = (code: number, status: string, otherwise: string): Refusal => {
    const split = splitStatus(text, status);
    const dsn = adaptStatus(split.status, frame.class);
    return {
      errorClass: "policy",
      code,
      dsn,
      text: `${rejected(frame)} ${split.text === "" ? otherwise : split.text}`,
    };
  };
  const refuse = ({ errorClass, code, dsn, text: reply }: Refusal): Verdict =>
    evaluation.reject(errorClass, code, dsn, reply);
  switch (command) {
    case "DUNNO":
      return "dunno";
    case "REJECT":
      return refuse(refusal(settings.codes.accessReject, "5.7.1", "Access denied"));
    case "DEFER":
      return refuse(refusal(settings.codes.accessDefer, "4.7.1", "Access denied"));
    case "HANGUP":
      session.logDecision("hangup", text, subject.recipient);
      throw new HangUp();
    case "INFO":
      session.logDecision("info", text, subject.recipient);
      return "dunno";
    case "WARN":
      session.logDecision("warn", text, subject.recipient);
      return "dunno";
    case "FILTER":
    case "HOLD":
    case "DISCARD":
    case "REDIRECT":
    case "BCC":
    case "PREPEND":
      return messageAction(evaluation, query, command, text);
    case "DEFER_IF_PERMIT":
      return evaluation.deferOnPermit(refusal(settings.codes.accessDefer, "4.7.1", "Service unavailable"));
    case "DEFER_IF_REJECT":
      return evaluation.deferOnReject(refusal(settings.codes.accessDefer, "4.7.1", "Service unavailable"));
  }
  if (DIGITS.test(value)) return evaluation.permit(value, frame, `from ${table.name}`, query.check);
  const numbered = NUMBERED.exec(value);
  if (numbered !== null) {
    const [, code = "", rest = ""] = numbered;
    if (rest !== "") {
      const split = splitStatus(rest, `${code[0]}.7.1`);
      const dsn = adaptStatus(split.status, frame.class);
      const reply = `${rejected(frame)} ${split.text === "" ? "Access denied" : split.text}`;
      return evaluation.reject("policy", Number(code), dsn, reply);
    }
  }
  if (command === "OK" || command === "RELAY")
    return evaluation.permit(word, frame, `from ${table.name}`, query.check);
  if (value.includes(":")) {
    warning(`access table ${table.name} has entry with lookup table: ${value}`);
    warning("do not specify lookup tables inside SMTPD access maps");
    warning("define a restriction class and specify its name instead.");
    return evaluation.serverError();
  }
  return nestedList(evaluation, query, value);
}

async function nestedList(
  evaluation: Evaluation,
  { table, frame }: TableQuery,
  value: string,
): Promise<Verdict> {
  const list = splitBraced(value);
  if (list.length === 0) {
    warning(`access table ${table.name} entry ${value} has empty value`);
    return "permit";
  }
  return evaluation.nested(
    list,
    frame,
    `access table ${table.name} entry ${value} causes unreasonable recursion`,
  );
}

type MessageAction = "FILTER" | "HOLD" | "DISCARD" | "REDIRECT" | "BCC" | "PREPEND";

/** Actions that change what happens to the message. */
function messageAction(
  evaluation: Evaluation,
  { table, frame, check, subject: key }: TableQuery,
  action: MessageAction,
  text: string,
): Verdict | Promise<Verdict> {
  const { session, subject, actions } = evaluation;
  const complain = (problem: string): Verdict => {
    warning(`access table ${table.name}${problem}`);
    return "dunno";
  };
  if (subject.stage === "ETRN" && action !== "PREPEND")
    return complain(`: action ${action} is unavailable in smtpd_etrn_restrictions`);
  if (session.filtered && action !== "PREPEND")
    return complain(`: with smtpd_proxy_filter specified, action ${action} is unavailable`);
  if (action === "PREPEND" && subject.stage === "END-OF-MESSAGE")
    return complain(": action PREPEND must be used before smtpd_end_of_data_restrictions");
  if (actions === undefined)
    return complain(
      `: with smtpd_delay_reject=no, action ${action} is always skipped in Client host or Helo command restrictions`,
    );
  const note = (name: string, what: string): void =>
    session.logDecision(name, `<${frame.name}>: ${frame.class} ${what}`, subject.recipient);
  switch (action) {
    case "FILTER":
      if (text === "") return complain(` entry "${key}" has FILTER entry without value`);
      if (!text.includes(":")) return complain(` entry "${key}" requires transport:destination`);
      note("filter", `triggers FILTER ${text}`);
      actions.filter = text;
      return "dunno";
    case "HOLD":
      if (actions.hold) return "dunno";
      note("hold", text === "" ? "triggers HOLD action" : text);
      actions.hold = true;
      return "dunno";
    case "DISCARD":
      note("discard", text === "" ? "triggers DISCARD action" : text);
      actions.discard = true;
      return evaluation.permit(action, frame, `from ${table.name}`, check);
    case "REDIRECT":
      if (!text.includes("@")) return complain(` entry "${key}" requires user@domain target`);
      note("redirect", `triggers REDIRECT ${text}`);
      actions.redirect = text;
      return "dunno";
    case "BCC":
      if (!text.includes("@")) return complain(` entry "${key}" requires user@domain target`);
      note("bcc", `triggers BCC ${text}`);
      actions.bcc.push(text);
      return "dunno";
    case "PREPEND":
      if (!isHeader(text)) return complain(` entry "${key}" requires header: text`);
      actions.prepend.push(text.replace(/[\r\n\0]/g, " "));
      return "dunno";
  }
}
