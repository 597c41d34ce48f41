/** Messages in which every line says whose it is, of many sizes: a mixture of two of them shows. */

/** So many lines at most: a spare file may be shorter or longer than what is written over it. */
const MOST_LINES = 400;

/** Lines end with `end`. */
export function markedBody(id: string, end: string, lines = linesOf(id)): string {
  return Array.from({ length: lines }, (_, line) => `${id} ${line} ${"x".repeat(60)}${end}`).join("");
}

/** The same each time, and different from message to message. */
const linesOf = (id: string): number => ((Number(/\d+$/.exec(id)?.[0]) * 37) % MOST_LINES) + 1;

/** What is wrong with a message that arrived; lines end with LF or CRLF, mailboxes add empty lines. */
export function damage(message: string): string | undefined {
  const text = message.replaceAll("\r\n", "\n");
  const id = /^X-Load-Id: (\S+)$/m.exec(text)?.[1];
  if (id === undefined) return `no identifier: ${text.slice(0, 200)}`;
  const body = text.slice(text.indexOf("\n\n") + 2).trimEnd();
  const line = body.split("\n").findIndex((content, at) => !content.startsWith(`${id} ${at} x`));
  if (line >= 0) return `${id}: line ${line} is ${body.split("\n")[line]?.slice(0, 60)}`;
  const lines = Number(/^X-Lines: (\d+)$/m.exec(text)?.[1] ?? linesOf(id));
  return body === markedBody(id, "\n", lines).trimEnd() ? undefined : `${id}: it has not ${lines} lines`;
}
