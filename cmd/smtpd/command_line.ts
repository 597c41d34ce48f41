/** Command lines as the client sends them. RFC 5321 section 2.3.8; smtpd_forbid_bare_newline. */
import type { Soon } from "../../lib/sys/when.ts";
import type { Session } from "./session.ts";
import { SessionEnd } from "./session_end.ts";

export type Line =
  | { readonly kind: "line"; readonly text: string; readonly bareLf: boolean }
  | { readonly kind: "long"; readonly text: string };

const LF = 0x0a;
const CR = 0x0d;

/** The next line of less than line_length_limit bytes; undefined when more input is needed. */
export function takeLine(session: Session): Soon<Line> | undefined {
  const { channel, settings } = session;
  if (channel.buffered === 0 || session.inputDisabled) return undefined;
  const view = channel.peek();
  const lf = view.indexOf(LF);
  if (lf < 0 || lf >= settings.lineLimit)
    return view.length >= settings.lineLimit ? skipLine(session) : undefined;
  let end = lf;
  const bareLf = lf === 0 || view[lf - 1] !== CR;
  if (session.detectBareLf) {
    if (!bareLf) end--;
  } else while (end > 0 && view[end - 1] === CR) end--;
  // A NUL ends the text, as in the C strings that everything behind us takes it for.
  const whole = view.toString("latin1", 0, end);
  const nul = whole.indexOf("\0");
  const text = nul < 0 ? whole : whole.slice(0, nul);
  channel.consume(lf + 1);
  session.chat.noteRead();
  return { kind: "line", text, bareLf };
}

/** Drops an over-long line up to its end; no more than another line_length_limit bytes are read for that. */
async function skipLine(session: Session): Promise<Line> {
  const { channel, settings } = session;
  const text = channel.peek().toString("latin1", 0, 30);
  channel.consume(settings.lineLimit);
  let allowance = settings.lineLimit;
  for (;;) {
    const view = channel.peek();
    const lf = view.indexOf(LF);
    const count = lf < 0 ? view.length : lf + 1;
    if (count > allowance) {
      session.disableInput();
      break;
    }
    channel.consume(count);
    if (lf >= 0) break;
    allowance -= count;
    await session.chat.flush();
    if (!(await channel.more())) throw new SessionEnd("lost connection");
  }
  session.chat.noteRead();
  return { kind: "long", text };
}
