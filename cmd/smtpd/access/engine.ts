/** Evaluates a restriction list, element by element (smtpd.md 20.3). */
import { warning } from "../../../lib/log/log.ts";
import { lowerAscii } from "../../../lib/sys/bytes.ts";
import type { Evaluation, Frame, Verdict } from "./evaluation.ts";
import { RESTRICTIONS } from "./registry.ts";
import { checkTable } from "./tables.ts";

const TABLE_CHECKS =
  "check_client_access, check_reverse_client_hostname_access, check_helo_access, check_sender_access, check_recipient_access, check_etrn_access";
const FINAL = new Set(["permit", "reject", "defer"]);

export async function evaluateList(
  evaluation: Evaluation,
  list: readonly string[],
  frame: Frame,
): Promise<Verdict> {
  let warnNext = false;
  for (let i = 0; i < list.length; i++) {
    const word = list[i] as string;
    const name = lowerAscii(word);
    if (name === "warn_if_reject") {
      warnNext = true;
      continue;
    }
    const outer = evaluation.warnOnly;
    if (warnNext) evaluation.warnOnly = true;
    warnNext = false;
    let verdict: Verdict;
    try {
      const restriction = RESTRICTIONS.get(name);
      if (restriction !== undefined) {
        const outcome = restriction(evaluation, frame, () => list[++i], name);
        verdict = outcome instanceof Promise ? await outcome : outcome;
      } else if (word.includes(":")) verdict = await bareTable(evaluation, word, frame);
      else verdict = await evaluateClass(evaluation, word, frame);
      if (FINAL.has(name) && !evaluation.warnOnly && list[i + 1] !== undefined)
        warning(`restriction \`${list[i + 1]}' after \`${word}' is ignored`);
    } finally {
      evaluation.warnOnly = outer;
    }
    if (verdict !== "dunno") return verdict;
    if (evaluation.actions?.discard === true) return "permit";
    if (evaluation.deferIfPermit !== undefined && evaluation.deferIfReject !== undefined) return "dunno";
  }
  return "dunno";
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
