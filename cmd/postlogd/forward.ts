/** Records that arrive although maillog_file is not set: some process still has the old setting (logging.md 5.4). */

/** `Mon DD HH:MM:SS HOST PROGRAM[PID]: TEXT` */
const RECORD = /^[^ ]+ [^ ]+ [^ ]+ [^ ]+ ([^ ]+?): (.*)$/s;

/** The tag and the text of a record as programs make it; undefined for anything else. */
export function splitRecord(record: string): { readonly tag: string; readonly text: string } | undefined {
  const [, tag, text] = RECORD.exec(record) ?? [];
  return tag === undefined || text === undefined ? undefined : { tag, text };
}
