/** Evaluates a restriction list, element by element (smtpd.md 20.3). */
import { warning } from "../../../lib/log/log.ts";
import { lowerAscii } from "../../../lib/sys/bytes.ts";
import type { Soon } from "../../../lib/sys/when.ts";
import type { Evaluation, Frame, Verdict } from "./evaluation.ts";
import { RESTRICTIONS } from "./registry.ts";
import { checkTable } from "./tables.ts";

const TABLE_CHECKS =
  "check_client_access, check_reverse_client_hostname_access, check_helo_access, check_sender_access, check_recipient_access, check_etrn_access";
const FINAL = new Set(["permit", "reject", "defer"]);

/** Evaluates the list from an element on, at once where none of them has to be waited for. */
export function evaluateList(
  evaluation: Evaluation,
  list: readonly string[],
  frame: Frame,
  first = 0,
): Soon<Verdict> {
  let warnNext = false;
  for (let i = first; i < list.length; i++) {
    const word = list[i] as string;
    const name = lowerAscii(word);
    if (name === "warn_if_reject") {
      warnNext = true;
      continue;
    }
    const outer = evaluation.warnOnly;
    if (warnNext) evaluation.warnOnly = true;
    warnNext = false;
    const conclude = (verdict: Verdict): Verdict | undefined => {
      if (FINAL.has(name) && !evaluation.warnOnly && list[i + 1] !== undefined)
        warning(`restriction \`${list[i + 1]}' after \`${word}' is ignored`);
      evaluation.warnOnly = outer;
      if (verdict !== "dunno") return verdict;
      if (evaluation.actions?.discard === true) return "permit";
      const settled = evaluation.deferIfPermit !== undefined && evaluation.deferIfReject !== undefined;
      return settled ? "dunno" : undefined;
    };
    const verdict = evaluateWord(evaluation, word, name, frame, () => list[++i]);
    if (verdict instanceof Promise)
      return verdict.then((late) => conclude(late) ?? evaluateList(evaluation, list, frame, i + 1));
    const end = conclude(verdict);
    if (end !== undefined) return end;
  }
  return "dunno";
}

function evaluateWord(
  evaluation: Evaluation,
  word: string,
  name: string,
  frame: Frame,
  argument: () => string | undefined,
): Soon<Verdict> {
  const restriction = RESTRICTIONS.get(name);
  if (restriction !== undefined) return restriction(evaluation, frame, argument, name);
  return word.includes(":") ? bareTable(evaluation, word, frame) : evaluateClass(evaluation, word, frame);
}

async function bareTable(evaluation: Evaluation, word: string, frame: Frame): Promise<Verdict> {
  if (frame.tableCheck === undefined) {
    warning(`specify one of (${TABLE_CHECKS}) before ${frame.class} restriction "${word}"`);
    return evaluation.serverError();
  }
  return checkTable(evaluation, frame.tableCheck, word, frame);
}

async function evaluateClass(evaluation: Evaluation, word: string, frame: Frame): Promise<Verdict> {
  const members = evaluation.policy.classes.get(word);
  if (members === undefined) {
    warning(`unknown smtpd restriction: "${word}"`);
    return evaluation.serverError();
  }
  return evaluation.nested(members, frame, `restriction class ${word} causes unreasonable recursion`);
}
